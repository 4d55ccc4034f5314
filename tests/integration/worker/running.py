"""A worker around a fake engine, in this process, announced in memory."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import httpx
import msgspec

from dynamo.discovery.mem import MemFleet
from dynamo.process.logs import EventLog
from dynamo.wire.cards import WorkerCard
from dynamo.worker.config import WorkerConfig
from dynamo.worker.shell import serve_worker
from tests.integration.worker.fake_engine import FakeEngine


def a_config(**changes: object) -> WorkerConfig:
    settings: dict[str, object] = {
        "worker_id": 0xABC,
        "name": "w1",
        "namespace": "default-agg",
        "component": "backend",
        "engine": "fake",
        "model": "tiny",
        "peer_host": "127.0.0.1",
        "system_host": "127.0.0.1",
        "event_host": "127.0.0.1",
        "grace_s": 0.05,
        "drain_s": 5.0,
        **changes,
    }
    return WorkerConfig(**settings)  # type: ignore[arg-type]


@dataclass
class Running:
    engine: FakeEngine
    fleet: MemFleet
    stop: asyncio.Event
    exit_code: asyncio.Task[int]
    output: io.StringIO

    async def card(self) -> WorkerCard:
        """The worker's card, as soon as it is announced and its relay hears the engine."""
        async with asyncio.timeout(5):
            async for cards in self.fleet.watch():
                if cards:
                    # A connection is there a moment before its subscription is; only the publisher can tell.
                    await eventually(self.engine.is_subscribed)
                    return cards[0]
        raise AssertionError("the watch ended")

    async def gone(self) -> None:
        async with asyncio.timeout(5):
            async for cards in self.fleet.watch():
                if not cards:
                    return

    def events(self) -> list[str]:
        return [msgspec.json.decode(line)["event"] for line in self.output.getvalue().splitlines()]


@asynccontextmanager
async def running(
    engine: FakeEngine | None = None, config: WorkerConfig | None = None, fleet: MemFleet | None = None
) -> AsyncIterator[Running]:
    engine, fleet, stop, output = engine or FakeEngine(), fleet or MemFleet(), asyncio.Event(), io.StringIO()
    log = EventLog(output, as_json=True)
    task = asyncio.create_task(serve_worker(engine, config or a_config(), fleet, stop, log))
    try:
        yield Running(engine, fleet, stop, task, output)
    finally:
        engine.in_flight = 0
        stop.set()
        await asyncio.wait_for(task, 10)
        log.flush()


@asynccontextmanager
async def client_of(card: WorkerCard) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=card.system_address, trust_env=False) as client:
        yield client


async def eventually(claim: Callable[[], bool]) -> None:
    """Waits for a state that nothing announces."""

    async def holds() -> bool:
        return claim()

    await eventually_async(holds)


async def eventually_async(claim: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(5):
        while not await claim():  # noqa: ASYNC110 - the state is another process's
            await asyncio.sleep(0.01)
