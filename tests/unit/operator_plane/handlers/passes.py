"""A controller that only counts its passes, and a queue that runs them. Called by the tests of the queue."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from dynamo_operator.handlers.queue import Queue, Work
from dynamo_operator.kube import Kind, Live, Ref
from dynamo_operator.kube.objects import GRAPH
from dynamo_operator.reconcile import Outcome, Store

DEADLINE_S = 5.0


@dataclass(eq=False)
class Passes:
    """A controller whose passes do what `do` says, and an observer of them."""

    do: Callable[[Ref], Awaitable[Outcome]] | None = None
    begun: list[str] = field(default_factory=list)
    ended: list[tuple[str, str]] = field(default_factory=list)
    news: asyncio.Condition = field(default_factory=asyncio.Condition)
    running: int = 0
    most_running: int = 0
    root_kind: Kind = GRAPH
    watched_kinds: tuple[Kind, ...] = (GRAPH,)

    def roots_of(self, live: Live, store: Store) -> tuple[Ref, ...]:
        return (live.ref,)

    async def reconcile(self, root: Ref) -> Outcome:
        self.begun.append(root.name)
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        await self._tell()
        try:
            return await self.do(root) if self.do else Outcome()
        finally:
            self.running -= 1
            await self._tell()

    def passed(self, root: Ref, duration_s: float, error: Exception | None, *, is_requeued: bool) -> None:
        self.ended.append((root.name, type(error).__name__ if error else "requeue" if is_requeued else "success"))

    async def _tell(self) -> None:
        async with self.news:
            self.news.notify_all()

    async def until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(DEADLINE_S), self.news:
            await self.news.wait_for(holds)


def work(passes: Passes, name: str = "g", namespace: str = "shop") -> Work:
    return Work(passes, Ref(GRAPH, namespace, name))


def started(passes: Passes, **options: object) -> Queue:
    queue = Queue(passes, **options)  # type: ignore[arg-type]
    queue.resume([])
    return queue
