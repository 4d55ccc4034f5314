"""The operator's life: begin, lead, drain, end.

Duty: run the parts that it is given until told to stop, and stop them in the order that loses nothing: no new passes,
passes in flight finish under a lease that is still renewed, then the lease is given back. Callers: `__main__`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from dynamo_operator.handlers.feed import Feed
from dynamo_operator.handlers.queue import Queue
from dynamo_operator.handlers.serving import Page, Pages

DRAIN_DEADLINE_S = 20.0  # within a pod's grace period of 30 s
BLIND_LIMIT_S = 300.0  # without any watch for this long the process asks to be restarted

log = logging.getLogger(__name__)


class Leadership(Protocol):
    @property
    def is_leading(self) -> bool: ...

    async def run(self, on_change: Callable[[bool], None]) -> None: ...

    async def release(self) -> None: ...


class Eyes(Protocol):
    def start(self) -> None: ...

    async def stop(self) -> None: ...

    def failing_for_s(self) -> float: ...


Answers = Callable[[], Awaitable[bool]]


@dataclass(frozen=True, slots=True)
class Parts:
    """What runs. `claim` is the lease by which a restricted operator keeps others out of its namespace.

    services: run beside everything else for as long as the process lives, by name.
    questions: what must be answered with yes before the process is ready, by name.
    on_lead: hears when leading begins and ends.
    """

    feed: Feed
    queue: Queue
    leadership: Leadership
    watching: Eyes
    claim: Leadership | None = None
    services: Mapping[str, Callable[[], Awaitable[None]]] = field(default_factory=dict)
    questions: Mapping[str, Answers] = field(default_factory=dict)
    on_lead: Callable[[bool], None] = lambda _: None


class ServiceEnded(Exception):
    """A part that runs as long as the process ended by itself, and with it the process; the message says why."""


class Operator:
    """One run of the parts."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._is_draining = False
        self._claiming: asyncio.Task[None] | None = None

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop` is set or a part fails; either way everything is wound down in order."""
        parts = self._parts
        tasks = [
            asyncio.create_task(parts.leadership.run(self._lead), name="leadership"),
            asyncio.create_task(self._begin(), name="first lists"),
            *(asyncio.create_task(_forever(name, run), name=name) for name, run in parts.services.items()),
        ]
        parts.watching.start()
        stopping = asyncio.create_task(stop.wait(), name="stop")
        try:
            await _until_stopped(stopping, tasks)
        finally:
            await self._wind_down([stopping, *tasks])

    async def alive(self) -> Page:
        blind_s = self._parts.watching.failing_for_s()
        if blind_s > BLIND_LIMIT_S:
            return Page(503, f"no watch of the API server for {blind_s:.0f} s\n".encode())
        return Page(200, b"ok\n")

    async def ready(self) -> Page:
        missing = await self._missing()
        return Page(503, f"not ready: {', '.join(missing)}\n".encode()) if missing else Page(200, b"ok\n")

    @property
    def pages(self) -> Pages:
        return {"/healthz": self.alive, "/readyz": self.ready}

    async def _missing(self) -> Sequence[str]:
        if self._is_draining:
            return ["draining"]
        if not self._parts.feed.synced.is_set():
            return ["first lists"]
        return [name for name, answers in self._parts.questions.items() if not await answers()]

    def _lead(self, is_leading: bool) -> None:
        self._parts.on_lead(is_leading)
        self._keep_claim(is_leading)
        if not is_leading:
            self._parts.queue.pause()
        elif self._parts.feed.synced.is_set() and not self._is_draining:
            self._parts.queue.resume(self._parts.feed.all_work())

    async def _begin(self) -> None:
        await self._parts.feed.synced.wait()
        log.info("synced")
        if self._parts.leadership.is_leading:
            self._parts.queue.resume(self._parts.feed.all_work())

    def _keep_claim(self, is_leading: bool) -> None:
        """One replica speaks for all of them: the leader."""
        if self._claiming:
            self._claiming.cancel()
            self._claiming = None
        if self._parts.claim and is_leading:
            self._claiming = asyncio.create_task(self._parts.claim.run(lambda _: None), name="claim")

    async def _wind_down(self, tasks: Sequence[asyncio.Task[None]] | Sequence[asyncio.Task[object]]) -> None:
        self._is_draining = True
        is_drained = await self._parts.queue.drain(DRAIN_DEADLINE_S)
        log.info("drained complete=%s", is_drained)
        self._keep_claim(False)
        if self._parts.claim and self._parts.leadership.is_leading:
            await self._parts.claim.release()
        await self._parts.leadership.release()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._parts.watching.stop()


async def _forever(name: str, run: Callable[[], Awaitable[None]]) -> None:
    await run()
    raise ServiceEnded(f"{name} ended")


async def _until_stopped(stopping: asyncio.Task[bool], tasks: Sequence[asyncio.Task[None]]) -> None:
    running = set(tasks)
    while not stopping.done():
        done, _ = await asyncio.wait({stopping, *running}, return_when=asyncio.FIRST_COMPLETED)
        for task in done & running:
            running.discard(task)
            error = task.exception()
            if isinstance(error, ServiceEnded):
                raise error
            if error is not None:
                raise ServiceEnded(f"{task.get_name()}: {type(error).__name__}: {error}") from error
