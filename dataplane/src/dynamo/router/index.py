"""Which slot holds which blocks of one storage tier, how far each slot holds a prompt, and what has proven useful.

A held block is proven once a routed prompt reused it: the room that proven blocks leave is what a new prefix may take
without costing anybody a recomputation.

Memory: beside the masks about 50 bytes per block and owner; bounded by what the workers' caches hold, since workers
report what they remove. Called by the router only; pure, no clock.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from dynamo.router.columns import Column, Ints
from dynamo.router.owners import OwnerMasks


class PrefixIndex:
    """Owner masks by block, and each slot's own set so that a slot can be cleared without scanning the rest."""

    def __init__(self) -> None:
        self._owners = OwnerMasks()
        self._held: dict[int, set[int]] = {}
        self._counts = Column()
        self._proven: dict[int, set[int]] = {}
        self._proven_counts = Column()

    def __len__(self) -> int:
        """Distinct blocks."""
        return len(self._owners)

    def held(self, slot: int) -> int:
        """Blocks that `slot` holds."""
        return self._counts[slot]

    def held_of(self, slots: Ints) -> Ints:
        """The same of many slots."""
        return self._counts.of(slots)

    def store(self, slot: int, hashes: Sequence[int]) -> None:
        self._owners.add(slot, hashes)
        held = self._held.setdefault(slot, set())
        held.update(hashes)
        self._counts[slot] = len(held)

    def remove(self, slot: int, hashes: Iterable[int]) -> None:
        """Blocks that `slot` does not hold are ignored."""
        held = self._held.get(slot)
        if held:
            gone = held.intersection(hashes)
            held -= gone
            self._counts[slot] = len(held)
            self._owners.take_away(slot, gone)
            proven = self._proven.get(slot)
            if proven:
                proven -= gone
                self._proven_counts[slot] = len(proven)

    def clear(self, slot: int) -> None:
        self._owners.take_away(slot, self._held.pop(slot, ()))
        self._owners.forget(slot)
        self._proven.pop(slot, None)
        self._counts[slot] = self._proven_counts[slot] = 0

    def replace(self, slot: int, hashes: Sequence[int]) -> None:
        """The slot holds exactly these; what was proven of them stays proven."""
        proven = self._proven.get(slot, ())
        self.clear(slot)
        self.store(slot, hashes)
        self.prove(slot, list(proven))

    def prove(self, slot: int, hashes: Sequence[int]) -> None:
        """A prompt just reused its leading blocks `hashes` of `slot`; those the slot does not hold are ignored."""
        held = self._held.get(slot)
        if not held or not hashes:
            return
        proven = self._proven.setdefault(slot, set())
        if hashes[-1] not in proven:  # else those before it were proven with it
            proven |= held.intersection(hashes)
            self._proven_counts[slot] = len(proven)

    def proven_of(self, slots: Ints) -> Ints:
        """How many blocks each of the slots holds that were ever reused."""
        return self._proven_counts.of(slots)

    def match(self, chain: Sequence[int], start: int = 0, among: int = -1) -> dict[int, int]:
        """Blocks held in a row from `chain[start]` on, by slot; see `OwnerMasks.match`."""
        return self._owners.match(chain, start, among)

    def check(self) -> None:
        """Masks, sets and counts say the same; nothing is kept for blocks without owners."""
        assert self._owners.by_slot() == {slot: held for slot, held in self._held.items() if held}
        assert all(self._counts[slot] == len(held) for slot, held in self._held.items())
        for slot, proven in self._proven.items():
            assert proven <= self._held.get(slot, set())
            assert self._proven_counts[slot] == len(proven)
