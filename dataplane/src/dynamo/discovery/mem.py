"""Discovery inside one process: for tests and for running everything in one event loop. No files, no sockets.

Implements both the worker shell's `Registry` and the frontend's `Discovery`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from dynamo.wire.cards import WorkerCard


class MemFleet:
    """The cards of one process's workers."""

    problems: tuple[str, ...] = ()
    """Nothing can keep a worker from being seen here."""

    def __init__(self) -> None:
        self._cards: dict[int, WorkerCard] = {}
        self._changed = asyncio.Event()

    async def check(self) -> None:
        """Publishing always works."""

    async def publish(self, card: WorkerCard) -> None:
        if self._cards.get(card.worker_id) != card:
            self._cards[card.worker_id] = card
            self._wake_watchers()

    async def withdraw(self, worker_id: int) -> None:
        if self._cards.pop(worker_id, None) is not None:
            self._wake_watchers()

    async def watch(self) -> AsyncIterator[tuple[WorkerCard, ...]]:
        """First everyone there now, then everyone anew at each change; quick changes may come as one."""
        while True:
            changed = self._changed
            yield tuple(self._cards[worker_id] for worker_id in sorted(self._cards))
            await changed.wait()

    def _wake_watchers(self) -> None:
        # A fresh event per change: a watcher that is busy with the old tuple still finds its own event set.
        self._changed.set()
        self._changed = asyncio.Event()
