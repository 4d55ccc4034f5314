"""Builds a frontend from settings and runs it until told to stop. Called by `__main__` and by tests."""

from __future__ import annotations

import asyncio
import random
import ssl
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

import httpx

from dynamo.events.feed import EventFeed
from dynamo.events.state_client import HttpStateSource
from dynamo.frontend.app import AppDeps, create_app
from dynamo.frontend.asking import Asking
from dynamo.frontend.fleet import Fleet
from dynamo.frontend.front import Front
from dynamo.frontend.listener import Gate
from dynamo.frontend.metrics.counts import Counts
from dynamo.frontend.metrics.exposition import Exposition
from dynamo.frontend.metrics.loop_delay import watch_loop_delay
from dynamo.frontend.pipeline import Pipeline
from dynamo.frontend.ports import Discovery
from dynamo.frontend.settings import Settings, Tls
from dynamo.frontend.tokens import TokenizerShelf
from dynamo.frontend.upstream import Pool
from dynamo.frontend.vigil import HttpProbe, Vigil
from dynamo.process.flags import FlagError
from dynamo.process.logs import EventLog
from dynamo.router import Router, RouterConfig
from dynamo.wire.cards import Role, WorkerCard

FETCH_TIMEOUT_S = 10.0
LINGER_S = 1.0
"""How long nothing may have begun before a frontend that drains ends."""
PROBES_KEPT = 4
"""Intervals for which a probe's connection is kept: the next probe uses it again."""


@dataclass(frozen=True, slots=True)
class Running:
    """A frontend that accepts requests."""

    port: int
    front: Front
    fleet: Fleet
    gate: Gate


async def run_frontend(settings: Settings, discovery: Discovery, log: EventLog, stop: asyncio.Event) -> None:
    """Serves until `stop` is set, then drains. Raises OSError when the port cannot be had."""
    async with running_frontend(settings, discovery, log, stop) as running:
        scheme = "https" if settings.tls else "http"
        if not stop.is_set():
            log.info("frontend_serving", address=f"{scheme}://{settings.host}:{running.port}")
        await stop.wait()
        log.info("frontend_draining", settle_s=settings.settle_s, timeout_s=settings.drain_s)
        running.front.is_draining = True
        await asyncio.sleep(settings.settle_s)
        running.gate.stop_listening()
        is_clean = await running.front.drain(settings.drain_s, linger_s=min(settings.settle_s, LINGER_S))
        log.info("frontend_stopped", clean=is_clean)


@asynccontextmanager
async def running_frontend(
    settings: Settings, discovery: Discovery, log: EventLog, stop: asyncio.Event | None = None
) -> AsyncIterator[Running]:
    """Yields once the port is open and the fleet was seen once, or `stop` is set; everything ends with the context."""
    counts = Counts()
    fleet = Fleet(lambda role: _router(settings.router, role), settings.namespaces)
    pool = Pool(clock=time.monotonic, deadlines=settings.deadlines)
    async with httpx.AsyncClient(timeout=FETCH_TIMEOUT_S, trust_env=False) as http:
        shelf = TokenizerShelf(http, counts, log, cache_bytes=settings.tokenizer_cache_bytes, clock=time.monotonic)
        asking = Asking(shelf, counts, clock=time.monotonic)
        pipeline = Pipeline(fleet, pool, asking, counts, log, settings.policy, clock=time.monotonic)
        front = Front(pipeline, log)
        gate = Gate(front.serve, settings.limits, clock=time.monotonic, wall=time.time)
        exposition = Exposition(fleet, counts, gate, shelf, settings, router_id=random.getrandbits(63))  # a name
        probes = Pool(
            clock=time.monotonic,
            deadlines=settings.deadlines,
            idle_s=PROBES_KEPT * settings.probe_every_s,
            idle_per_worker=1,
        )
        app = create_app(
            AppDeps(fleet, front, exposition.text, shelf, lambda: discovery.problems, settings.allows_admin)
        )
        front.mount(app)
        tls = _tls_context(settings.tls) if settings.tls else None
        port = await gate.open(settings.host, settings.port, tls=tls, backlog=settings.backlog)
        is_seen = asyncio.Event()
        async with EventFeed(fleet, HttpStateSource(http), log) as feed, asyncio.TaskGroup() as tasks:
            seen: tuple[WorkerCard, ...] = ()

            def refresh() -> None:
                fleet.update(vigil.admitted(seen))
                feed.follow(fleet.cards if settings.router.uses_kv_events else ())
                counts.drop_workers(frozenset(card.worker_id for card in fleet.cards))
                shelf.warm_up(fleet.models())

            vigil = _vigil(settings, fleet, probes, pool, log, refresh)

            async def follow() -> None:
                nonlocal seen
                async for cards in discovery.watch():
                    seen = tuple(card for card in cards if settings.namespaces.takes(card.namespace))
                    vigil.follow(seen)
                    refresh()
                    is_seen.set()

            duties = (follow(), gate.run(), pool.run(), probes.run(), watch_loop_delay(counts, clock=time.monotonic))
            running = [tasks.create_task(duty) for duty in duties]
            try:
                await _either(is_seen, stop)
                yield Running(port, front, fleet, gate)
            finally:
                await gate.close()
                shelf.close()
                vigil.close()
                for task in running:
                    task.cancel()


def _vigil(
    settings: Settings, fleet: Fleet, probes: Pool, pool: Pool, log: EventLog, refresh: Callable[[], None]
) -> Vigil:
    return Vigil(
        HttpProbe(probes),
        pool,
        log,
        every_s=settings.probe_every_s,
        on_change=refresh,
        on_suspect=lambda card, for_s: fleet.avoid(card.worker_id, time.monotonic() + for_s),
    )


async def _either(one: asyncio.Event, other: asyncio.Event | None) -> None:
    """Returns when one of the events is set."""
    waits = [asyncio.ensure_future(event.wait()) for event in (one, other) if event is not None]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()


def _router(config: RouterConfig, role: Role) -> Router:
    """Tiers of a disaggregated graph weigh other things.

    A prefill worker holds blocks only while it computes them. A decode worker gets its prompt's blocks sent, whatever
    it has cached, and computes no prompt.
    """
    if role is Role.PREFILL:
        config = replace(config, tracks_active_blocks=False)
    elif role is Role.DECODE:
        weights = replace(config.weights, overlap_credit=0.0)
        config = replace(config, weights=weights, assumes_kv_reuse=False, tracks_prefill_tokens=False)
    return Router(config, rng=random.Random(), clock=time.monotonic)  # noqa: S311  # ties, not secrets


def _tls_context(tls: Tls) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(tls.certificate, tls.key)
    except OSError as error:
        found = f"{str(tls.certificate)!r} and --tls-key-path {str(tls.key)!r}"
        raise FlagError(f"--tls-cert-path: found {found}; expected a PEM chain and its key ({error})") from error
    if tls.client_ca is not None:
        try:
            context.load_verify_locations(tls.client_ca)
        except OSError as error:
            found = repr(str(tls.client_ca))
            raise FlagError(f"--tls-client-ca-cert-path: found {found}; expected PEM ({error})") from error
        context.verify_mode = ssl.CERT_REQUIRED
    return context
