"""A worker's life around its engine: start, announce, relay, drain, exit code. The same for every engine.

    return asyncio.run(run_worker(engine, config, log))

SIGTERM: leave discovery -> grace (frontends notice) -> refuse new requests -> streams finish -> stop -> 0.
Engine dead: leave discovery, say why, 1. Called by the engines' `__main__`.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import zmq

from dynamo.discovery import HEARTBEAT_S, DiscoveryError, open_registry
from dynamo.process.logs import EventLog
from dynamo.process.signals import stop_on_signals
from dynamo.worker.canary import watch
from dynamo.worker.canary_request import make_canary
from dynamo.worker.config import WorkerConfig
from dynamo.worker.live import LiveWorker, Phase
from dynamo.worker.ports import Engine, EngineFacts, EngineFailed, Registry
from dynamo.worker.system_server import SystemServer

LOAD_EVERY_S = 0.1
LOAD_HEARTBEAT_S = 1.0
"""Load is told this often even if unchanged: a subscriber sees by its sequence number that it lost something."""
STOP_TIMEOUT_S = 60.0
"""For the engine to stop; then the process exits regardless, and the engine with it."""
_IN_FLIGHT_LOOK_S = 0.02


async def run_worker(engine: Engine, config: WorkerConfig, log: EventLog) -> int:
    """Runs until SIGTERM, SIGINT or the engine's death; returns the process's exit code."""
    try:
        registry = open_registry(config.discovery_backend, config.discovery_env)
    except DiscoveryError as error:
        log.error("worker_cannot_start", worker=config.name, reason=str(error))
        return 1
    with stop_on_signals() as stop:
        return await serve_worker(engine, config, registry, stop, log)


async def serve_worker(
    engine: Engine, config: WorkerConfig, registry: Registry, stop: asyncio.Event, log: EventLog
) -> int:
    """`run_worker` with everything passed in. `stop` asks for the drain."""
    worker = LiveWorker(engine, config, registry, log)
    system = SystemServer(worker)
    try:
        system_address = await system.start()
        await registry.check()
        facts = await _start_engine(worker, stop)
        if facts is None:
            log.info("worker_stopped_before_ready", worker=config.name)
            return 0
        await worker.open_events(facts)
        await worker.register(facts, system_address, created_s=int(time.time()))
        _say_serving(worker, system_address, log)
        async with _background(worker, log):
            return await _until_the_end(worker, stop, log)
    except (EngineFailed, DiscoveryError, OSError, zmq.ZMQError) as error:
        log.error("worker_cannot_start", worker=config.name, reason=str(error) or type(error).__name__)
        return 1
    finally:
        await _end(worker, system, log)


async def _start_engine(worker: LiveWorker, stop: asyncio.Event) -> EngineFacts | None:
    """None: asked to stop before the engine was ready. Raises EngineFailed."""
    began_s = time.monotonic()
    start = asyncio.ensure_future(worker.engine.start())
    stopped = asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait((start, stopped), return_when=asyncio.FIRST_COMPLETED)
        if not start.done():
            return None
        worker.engine_start_s = time.monotonic() - began_s
        return start.result()
    finally:
        await _cancel(start, stopped)


async def _until_the_end(worker: LiveWorker, stop: asyncio.Event, log: EventLog) -> int:
    death = asyncio.ensure_future(worker.engine.wait_dead())
    stopped = asyncio.ensure_future(stop.wait())
    try:
        async with _canaries(worker):
            await asyncio.wait((death, stopped), return_when=asyncio.FIRST_COMPLETED)
        if not death.done():
            await _drain(worker, death, log)
        if not death.done():
            return 0
        worker.phase = Phase.DEAD
        log.error("engine_died", worker=worker.config.name, reason=_reason(death))
        await _leave(worker, log)
        return 1
    finally:
        await _cancel(death, stopped)


def _reason(death: asyncio.Future[str]) -> str:
    return repr(error) if (error := death.exception()) is not None else death.result()


async def _drain(worker: LiveWorker, death: asyncio.Future[str], log: EventLog) -> None:
    """Each step ends early when the engine dies."""
    config, engine = worker.config, worker.engine
    worker.phase = Phase.DRAINING
    log.info("worker_draining", worker=config.name, in_flight=engine.in_flight, grace_s=config.grace_s)
    await _leave(worker, log)
    await asyncio.wait((death,), timeout=config.grace_s)
    if not death.done():
        await engine.stop_accepting()
    deadline_s = time.monotonic() + config.drain_s
    while engine.in_flight and not death.done() and time.monotonic() < deadline_s:
        # The port tells a number, not a change; a real engine's number comes from its metrics.
        await asyncio.wait((death,), timeout=_IN_FLIGHT_LOOK_S)
    if engine.in_flight and not death.done():
        log.warning("worker_drain_cut", worker=config.name, in_flight=engine.in_flight, drain_s=config.drain_s)


async def _leave(worker: LiveWorker, log: EventLog) -> None:
    try:
        await worker.leave()
    except (DiscoveryError, OSError) as error:
        # Going on is right: the card vanishes with the process.
        log.warning("worker_not_withdrawn", worker=worker.config.name, reason=str(error))


async def _end(worker: LiveWorker, system: SystemServer, log: EventLog) -> None:
    if worker.phase is not Phase.DEAD:
        worker.phase = Phase.STOPPING
    if worker.is_registered:
        await _leave(worker, log)
    try:
        async with asyncio.timeout(STOP_TIMEOUT_S):
            await worker.engine.stop()
    except TimeoutError:
        log.error("engine_did_not_stop", worker=worker.config.name, timeout_s=STOP_TIMEOUT_S)
    finally:
        worker.close_events()
        await system.close()
    log.info("worker_stopped", worker=worker.config.name)


@contextlib.asynccontextmanager
async def _background(worker: LiveWorker, log: EventLog) -> AsyncIterator[None]:
    """Heartbeat and load reports while the worker lives, drain included."""
    tasks = [asyncio.ensure_future(_beat(worker, log)), asyncio.ensure_future(_report_load(worker, log))]
    try:
        yield
    finally:
        await _cancel(*tasks)


@contextlib.asynccontextmanager
async def _canaries(worker: LiveWorker) -> AsyncIterator[None]:
    """One per rank, if any are wanted; not while the worker drains, when its engine refuses requests on purpose."""
    terms, facts, engine = worker.config.canary, worker.facts, worker.engine
    tasks: list[asyncio.Future[None]] = []
    if terms is not None and facts is not None:
        canary = make_canary(facts, worker.config.model, terms.body)
        for rank in range(facts.data_parallel_size):
            progress, tell = partial(_progress, engine, rank), partial(worker.heard, rank)
            tasks.append(asyncio.ensure_future(watch(rank, canary, terms, progress, tell)))
    try:
        yield
    finally:
        await _cancel(*tasks)


def _progress(engine: Engine, rank: int) -> int:
    return engine.progress[rank]


async def _beat(worker: LiveWorker, log: EventLog) -> None:
    is_well = True
    while True:
        await asyncio.sleep(HEARTBEAT_S)
        try:
            await worker.keep_registered()
            is_well = True
        except (DiscoveryError, OSError) as error:
            if is_well:
                log.warning("worker_heartbeat_failed", worker=worker.config.name, reason=str(error))
            is_well = False


async def _report_load(worker: LiveWorker, log: EventLog) -> None:
    told_s = float("-inf")
    is_well = True
    while True:
        now_s = time.monotonic()
        is_due = now_s - told_s >= LOAD_HEARTBEAT_S
        try:
            worker.publish_load(even_if_unchanged=is_due)
            is_well = True
        except Exception as error:
            # On purpose: a worker whose load cannot be read still serves; routers then count what they sent.
            if is_well:
                log.warning("load_unreadable", worker=worker.config.name, reason=repr(error))
            is_well = False
        told_s = now_s if is_due else told_s
        await asyncio.sleep(LOAD_EVERY_S)


async def _cancel(*futures: asyncio.Future[Any]) -> None:
    for future in futures:
        future.cancel()
    await asyncio.gather(*futures, return_exceptions=True)


def _say_serving(worker: LiveWorker, system_address: str, log: EventLog) -> None:
    card = worker.card
    assert card is not None
    log.info(
        "worker_serving",
        worker=card.name,
        worker_id=card.hex_id,
        namespace=card.namespace,
        component=card.component,
        model=card.model,
        address=card.address,
        system_address=system_address,
        event_address=card.event_address,
        engine_start_s=worker.engine_start_s,
    )
