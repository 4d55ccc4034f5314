"""Ends answers of workers that stand still: the kernel keeps their connections open, so a client would wait for ever.

A worker that left discovery may be draining, which may take long and in silence, or be frozen. Its system server tells
them apart: whoever answers there lives. Called by `server` with every new fleet.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import httpx

from dynamo.frontend.upstream import Pool
from dynamo.process.logs import EventLog
from dynamo.wire.cards import WorkerCard

PROBE_EVERY_S = 1.0
PROBE_TIMEOUT_S = 2.0
MISSES = 2
"""Probes without an answer before a worker is given up; one may be lost for other reasons."""


class Vigil:
    """Watches workers that left while they owe answers. Owns a task for each; `close` ends them."""

    def __init__(
        self,
        http: httpx.AsyncClient,
        pool: Pool,
        log: EventLog,
        *,
        every_s: float = PROBE_EVERY_S,
        timeout_s: float = PROBE_TIMEOUT_S,
    ) -> None:
        self._http = http
        self._pool = pool
        self._log = log
        self._every_s = every_s
        self._timeout_s = timeout_s
        self._present: dict[int, WorkerCard] = {}
        self._watched: dict[int, asyncio.Task[None]] = {}

    def follow(self, cards: Sequence[WorkerCard]) -> None:
        """These are all workers there are now."""
        now = {card.worker_id: card for card in cards}
        for worker_id in self._watched.keys() & now.keys():
            self._watched.pop(worker_id).cancel()
        for worker_id, card in self._present.items():
            if worker_id not in now and self._pool.awaits(card.address):
                self._watched[worker_id] = asyncio.get_running_loop().create_task(self._watch(card))
        self._present = now

    def close(self) -> None:
        for task in self._watched.values():
            task.cancel()
        self._watched.clear()

    async def _watch(self, card: WorkerCard) -> None:
        misses = 0
        while self._pool.awaits(card.address):
            misses = 0 if await self._lives(card) else misses + 1
            if misses == MISSES:
                self._log.warning("worker_frozen", worker=card.name, address=card.address)
                self._pool.give_up(card.address)
                break
            await asyncio.sleep(self._every_s)
        self._watched.pop(card.worker_id, None)

    async def _lives(self, card: WorkerCard) -> bool:
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._http.get(f"{card.system_address}/live")
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError):
            return False
        return True
