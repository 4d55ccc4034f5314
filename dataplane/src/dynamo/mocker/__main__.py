"""`python -m dynamo.mocker`: one or more simulated workers in one process."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from dynamo.discovery import DiscoveryError, open_registry
from dynamo.mocker.config import MockerConfig, base_port, engine_config
from dynamo.mocker.engine import MockerEngine
from dynamo.mocker.flags import ENGINE_FLAGS, ENGINE_RETIRED
from dynamo.mocker.follower import follow
from dynamo.process.flags import FlagError, parse_flags, usage
from dynamo.process.logs import EventLog, start_logging
from dynamo.process.signals import stop_on_signals
from dynamo.wire.cards import Role
from dynamo.worker.config import COMMON_WORKER_FLAGS, COMMON_WORKER_RETIRED, WorkerConfig, worker_config
from dynamo.worker.shell import run_worker, serve_worker

FLAGS = (*ENGINE_FLAGS, *COMMON_WORKER_FLAGS)
RETIRED = (*ENGINE_RETIRED, *COMMON_WORKER_RETIRED)
ABOUT = "A simulated engine behind vLLM's OpenAI server: no GPU, no model, real scheduling, cache and events."
USAGE_EXIT = 2


def main(argv: Sequence[str], env: Mapping[str, str]) -> int:
    if "--help" in argv or "-h" in argv:
        print(usage("python -m dynamo.mocker", ABOUT, FLAGS))
        return 0
    log = start_logging(env)
    try:
        parsed = parse_flags(argv, env, FLAGS, RETIRED)
        workers = [_worker(parsed.values, env, index) for index in range(parsed.values["num_workers"])]
    except FlagError as error:
        log.error("bad_flags", reason=str(error))
        return USAGE_EXIT
    for warning in parsed.warnings:
        log.warning("flag_ignored", reason=warning)
    for warning in workers[0][0].warnings:
        log.warning("flag_without_effect", reason=warning)
    if rank := parsed.values["node_rank"]:
        return asyncio.run(follow(workers[0][1], rank, log))
    return _run(workers, _stagger_s(parsed.values["stagger_delay"], len(workers)), log)


def _worker(values: Mapping[str, Any], env: Mapping[str, str], index: int) -> tuple[MockerConfig, WorkerConfig]:
    engine = engine_config(values, advertised_host=worker_config(values, env, engine="mocker", model="").peer_host)
    if engine.role is Role.PREFILL and not env.get("DYN_COMPONENT"):
        env = {**env, "DYN_COMPONENT": "prefill"}
    worker = worker_config(
        values, env, engine="mocker", model=engine.model, aliases=engine.aliases, role=engine.role, index=index
    )
    count = values["num_workers"]
    return replace(
        engine,
        port=engine.port + index if engine.port else 0,
        kv_event_port=base_port(values["zmq_kv_events_ports"], index, "--zmq-kv-events-ports", count),
        replay_port=base_port(values["zmq_replay_ports"], index, "--zmq-replay-ports", count),
    ), worker


def _stagger_s(asked_s: float, workers: int) -> float:
    """Seconds between starts; -1: only where many workers would otherwise announce themselves at once."""
    if asked_s >= 0:
        return asked_s
    return 0.0 if workers < 33 else 0.1 if workers <= 128 else 0.2


def _run(workers: Sequence[tuple[MockerConfig, WorkerConfig]], stagger_s: float, log: EventLog) -> int:
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        if len(workers) == 1:
            ((engine, worker),) = workers
            return runner.run(run_worker(MockerEngine(engine, log), worker, log))
        return runner.run(_run_many(workers, stagger_s, log))


async def _run_many(workers: Sequence[tuple[MockerConfig, WorkerConfig]], stagger_s: float, log: EventLog) -> int:
    """All workers share the registry and the signals; the process fails if one of them does."""
    try:
        registry = open_registry(workers[0][1].discovery_backend, workers[0][1].discovery_env)
    except DiscoveryError as error:
        log.error("worker_cannot_start", reason=str(error))
        return 1
    with stop_on_signals() as stop:

        async def run_one(index: int) -> int:
            engine, worker = workers[index]
            await asyncio.sleep(stagger_s * index)
            return await serve_worker(MockerEngine(engine, log), worker, registry, stop, log)

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(run_one(index)) for index in range(len(workers))]
    return max(task.result() for task in tasks)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
