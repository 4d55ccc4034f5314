"""The order in which held requests go on, when a queue threshold holds them. Pure: time is an argument.

Strict priority first. Within it `fcfs` goes by arrival, moved earlier by `priority` seconds; `wspt` (weighted shortest
processing time) by (1 + priority) over the tokens that still need computing, so short and cached prompts go first.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass

from dynamo.router.config import QueuePolicy

_SLACK = 64
"""Places of abandoned requests that are kept before the heap is swept."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """A held request."""

    request_id: str
    arrived_s: float
    uncached_tokens: int
    priority: float = 0.0
    strict_priority: int = 0


class WaitQueue:
    """Held requests; `wake` of the first one is called when it may try again."""

    def __init__(self, policy: QueuePolicy) -> None:
        self._policy = policy
        self._heap: list[tuple[float, float, int, str]] = []
        self._wakers: dict[str, tuple[int, Callable[[], None]]] = {}
        self._count = 0

    def __len__(self) -> int:
        return len(self._wakers)

    def push(self, waiting: Waiting, wake: Callable[[], None]) -> None:
        """A request that waits already moves to its new place."""
        self._count += 1
        self._wakers[waiting.request_id] = (self._count, wake)
        key = (-waiting.strict_priority, self._key(waiting), self._count, waiting.request_id)
        heapq.heappush(self._heap, key)

    def abandon(self, request_id: str) -> bool:
        """True if the request was waiting."""
        was_waiting = self._wakers.pop(request_id, None) is not None
        if len(self._heap) > 2 * len(self._wakers) + _SLACK:
            live = {count for count, _ in self._wakers.values()}
            self._heap = [key for key in self._heap if key[2] in live]
            heapq.heapify(self._heap)
        return was_waiting

    def pop(self) -> tuple[str, Callable[[], None]] | None:
        """The request whose turn it is, and how to tell it."""
        while self._heap:
            *_, count, request_id = heapq.heappop(self._heap)
            entry = self._wakers.get(request_id)
            if entry is not None and entry[0] == count:
                del self._wakers[request_id]
                return request_id, entry[1]
        return None

    def _key(self, waiting: Waiting) -> float:
        if self._policy is QueuePolicy.WSPT:
            return -(1 + waiting.priority) / max(1, waiting.uncached_tokens)
        return waiting.arrived_s - waiting.priority
