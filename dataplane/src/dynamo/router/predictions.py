"""Blocks that a slot should hold because a prompt was routed there, until events say so, or in place of events.

`ExpiringIndex` forgets a prompt `ttl_s` after its last use, `BoundedIndex` the least recently used blocks beyond a
slot's capacity. With KV events the router keeps a short-lived one beside the reported state, so that requests with a
common prefix that arrive before the first is cached still go to one worker. Pure: the clock is an argument.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Sequence

from dynamo.router.index import PrefixIndex


class ExpiringIndex:
    """Prefixes with a time to live, refreshed by use; others only read `index`."""

    def __init__(self, ttl_s: float) -> None:
        self.index = PrefixIndex()
        self._ttl_s = ttl_s
        self._deadlines_s: dict[int, dict[int, float]] = {}
        self._due: deque[tuple[float, int, str, array[int]]] = deque()
        """(deadline, slot, request, 64-bit hashes), first due first."""

    def put(self, slot: int, hashes: Sequence[int], request_id: str, now_s: float) -> None:
        deadline_s = now_s + self._ttl_s
        deadlines_s = self._deadlines_s.setdefault(slot, {})
        # A use refreshes a prompt from its start, so what is left of it is always its start.
        known = bisect_left(hashes, True, key=lambda name: name not in deadlines_s)
        self.index.store(slot, hashes[known:])
        deadlines_s.update(dict.fromkeys(hashes, deadline_s))
        self._due.append((deadline_s, slot, request_id, array("Q", hashes)))

    def expire(self, now_s: float, is_pending: Callable[[str], bool]) -> None:
        """Prompts whose request `is_pending` (routed, not yet computed) live on for another term."""
        while self._due and self._due[0][0] <= now_s:
            _, slot, request_id, hashes = self._due.popleft()
            deadlines_s = self._deadlines_s.get(slot)
            if deadlines_s is None:
                continue
            if is_pending(request_id):
                self.put(slot, hashes, request_id, now_s)
                continue
            over = [name for name in hashes if deadlines_s.get(name, now_s) <= now_s]
            for name in over:
                deadlines_s.pop(name, None)
            self.index.remove(slot, over)

    def clear(self, slot: int) -> None:
        self.index.clear(slot)
        self._deadlines_s.pop(slot, None)
        self._due = deque(entry for entry in self._due if entry[1] != slot)

    def check(self) -> None:
        self.index.check()
        due = [entry[0] for entry in self._due]
        assert due == sorted(due)
        for slot, deadlines_s in self._deadlines_s.items():
            assert len(deadlines_s) == self.index.held(slot)


class BoundedIndex:
    """Prefixes up to a slot's capacity, least recently used out first, a prompt's end before its start.

    Others only read `index`.
    """

    def __init__(self) -> None:
        self.index = PrefixIndex()
        self._recent: dict[int, dict[int, None]] = {}

    def put(self, slot: int, hashes: Sequence[int], capacity: int) -> None:
        recent = self._recent.setdefault(slot, {})
        for name in reversed(hashes):
            recent.pop(name, None)
            recent[name] = None
        self.index.store(slot, hashes)
        excess = len(recent) - capacity
        if excess > 0:
            oldest = [name for name, _ in zip(recent, range(excess), strict=False)]
            for name in oldest:
                del recent[name]
            self.index.remove(slot, oldest)

    def clear(self, slot: int) -> None:
        self.index.clear(slot)
        self._recent.pop(slot, None)

    def check(self) -> None:
        self.index.check()
        for slot, recent in self._recent.items():
            assert len(recent) == self.index.held(slot)
