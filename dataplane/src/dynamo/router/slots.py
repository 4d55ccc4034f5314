"""Numbers for the (worker, data-parallel rank) pairs a router sees: bit positions in the indexes' owner masks.

Numbers of gone pairs are given out again, lowest first, so masks stay as short as the fleet is small. Called by the
router; holds no cache state itself.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator


class Slots:
    """A two-way table (worker_id, dp_rank) <-> slot number."""

    def __init__(self) -> None:
        self._slots: dict[tuple[int, int], int] = {}
        self._pairs: dict[int, tuple[int, int]] = {}
        self._ranks: dict[int, set[int]] = {}
        self._free: list[int] = []

    def __len__(self) -> int:
        return len(self._slots)

    def get(self, worker_id: int, dp_rank: int) -> int | None:
        return self._slots.get((worker_id, dp_rank))

    def take(self, worker_id: int, dp_rank: int) -> int:
        """The pair's slot, a new one if it has none."""
        pair = (worker_id, dp_rank)
        slot = self._slots.get(pair)
        if slot is None:
            slot = heapq.heappop(self._free) if self._free else len(self._slots)
            self._slots[pair] = slot
            self._pairs[slot] = pair
            self._ranks.setdefault(worker_id, set()).add(dp_rank)
        return slot

    def of_worker(self, worker_id: int) -> tuple[int, ...]:
        return tuple(self._slots[worker_id, rank] for rank in sorted(self._ranks.get(worker_id, ())))

    def release(self, slot: int) -> None:
        """The number may name another pair from now on; whoever keeps state by slot must have dropped it."""
        worker_id, dp_rank = pair = self._pairs.pop(slot)
        del self._slots[pair]
        self._ranks[worker_id].discard(dp_rank)
        if not self._ranks[worker_id]:
            del self._ranks[worker_id]
        heapq.heappush(self._free, slot)

    def pair(self, slot: int) -> tuple[int, int]:
        return self._pairs[slot]

    def __iter__(self) -> Iterator[int]:
        return iter(self._pairs)

    def check(self) -> None:
        assert {slot: pair for pair, slot in self._slots.items()} == self._pairs
        assert sorted([*self._pairs, *self._free]) == list(range(len(self._pairs) + len(self._free)))
        assert sum(len(ranks) for ranks in self._ranks.values()) == len(self._slots)
