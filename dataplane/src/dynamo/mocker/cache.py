"""The paged KV cache of one rank: which blocks exist, who holds them, which are kept for reuse.

Pure bookkeeping over block keys; it knows nothing of requests, time or tokens. The scheduler calls it. A block is
*private* (being filled, or prefixes are not kept), *active* (keyed and held) or *cached* (keyed, held by nobody,
evictable in least-recently-used order). A key names a block together with everything before it, so a cached block's
parent is always cached too; eviction therefore takes leaves first.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PoolSnapshot:
    """Blocks by state; the four sum to the pool's size."""

    private: int
    active: int
    cached: int
    free: int

    @property
    def used(self) -> int:
        """Blocks that running requests hold."""
        return self.private + self.active


class BlockPool:
    """A fixed number of blocks with reference counts and prefix reuse."""

    def __init__(self, total_blocks: int, *, keeps_prefixes: bool = True) -> None:
        self.total_blocks = total_blocks
        self._keeps_prefixes = keeps_prefixes
        self._private = 0
        self._holders: dict[int, int] = {}
        self._parents: dict[int, int | None] = {}
        self._cached: OrderedDict[int, None] = OrderedDict()

    @property
    def available(self) -> int:
        """Blocks that `take` can give: free ones and cached ones."""
        return self.total_blocks - self._private - len(self._holders) + len(self._cached)

    def match(self, keys: Sequence[int]) -> int:
        """How many leading keys are in the pool; changes nothing."""
        if not self._keeps_prefixes:
            return 0
        for count, key in enumerate(keys):
            if key not in self._holders:
                return count
        return len(keys)

    def matched_cached(self, keys: Sequence[int]) -> int:
        """How many of these present keys nobody holds: holding them uses up available blocks."""
        return sum(key in self._cached for key in keys)

    def hold(self, keys: Sequence[int]) -> None:
        """Adds one holder to each key; all must be present."""
        for key in keys:
            self._holders[key] += 1
            self._cached.pop(key, None)

    def take(self, count: int) -> tuple[int, ...] | None:
        """Makes `count` private blocks; returns the keys evicted for them, or None (and changes nothing) if full."""
        if count > self.available:
            return None
        free = self.total_blocks - self._private - len(self._holders)
        evicted = tuple(self._evict() for _ in range(count - free))
        self._private += count
        return evicted

    def commit(self, key: int, parent: int | None) -> bool:
        """A private block is full: it becomes `key`, held by its owner. False when `key` was there already.

        A second copy is given back to the pool and the first one shared.
        """
        assert self._private > 0
        self._private -= 1
        if key in self._holders:
            self.hold((key,))
            return False
        self._holders[key] = 1
        self._parents[key] = parent
        return True

    def release(self, keys: Sequence[int], private: int) -> None:
        """A holder lets go of a chain of keys (first block first) and of its private blocks."""
        self._private -= private
        for key in reversed(keys):
            self._holders[key] -= 1
            if self._holders[key] == 0:
                self._cached[key] = None

    def clear(self) -> bool:
        """Forgets every cached block; refused (False) while a request holds blocks, as a real engine does."""
        if self._private or len(self._cached) != len(self._holders):
            return False
        self._cached.clear()
        self._holders.clear()
        self._parents.clear()
        return True

    def snapshot(self) -> PoolSnapshot:
        cached = len(self._cached)
        active = len(self._holders) - cached
        return PoolSnapshot(self._private, active, cached, self.total_blocks - self._private - len(self._holders))

    def check(self) -> None:
        """Asserts the invariants; linear in the pool's content."""
        assert self._private >= 0
        assert self._private + len(self._holders) <= self.total_blocks
        assert self._holders.keys() == self._parents.keys()
        assert {key for key, holders in self._holders.items() if holders == 0} == self._cached.keys()
        order = {key: position for position, key in enumerate(self._cached)}
        for key, parent in self._parents.items():
            if parent is None:
                continue
            assert parent in self._holders, "a block outlived its parent"
            assert self._holders[parent] >= min(1, self._holders[key]), "a held block has an unheld parent"
            if key in order and parent in order:
                assert order[key] < order[parent], "a parent would be evicted before its child"

    def _evict(self) -> int:
        key, _ = self._cached.popitem(last=False)
        del self._holders[key]
        del self._parents[key]
        return key
