"""Which slot holds which blocks of one storage tier, and how far each slot holds a given prompt.

A flat dictionary from chained sequence hash to a mask of owners (bit n: slot n) answers for all slots at once: walking
a prompt's chain and intersecting masks leaves, block by block, the slots that still match. The walk is exact: it stops
at the first block a slot lacks, as engines do, even if later blocks survived an eviction. (Galloping over the chain
would take fewer look-ups and count blocks behind such a hole.) Blocks of one prompt share their mask objects, so most
steps of the walk are one look-up and one identity check. Measured by `benchmarks.index`.

Memory: per distinct block one dictionary entry and one int (about 140 bytes), plus about 50 bytes per owner; bounded by
what the workers' caches hold, since workers report what they remove.

A held block is proven once a routed prompt reused it: the room that proven blocks leave is what a new prefix may take
without costing anybody a recomputation. Called by the router only; pure, no clock.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from dynamo.router.columns import Column, Ints

_MANY_BITS = 16
"""From here on numpy unpacks a mask quicker than bit twiddling."""


class PrefixIndex:
    """Owner masks by block, and each slot's own set so that a slot can be cleared without scanning the rest."""

    def __init__(self) -> None:
        self._owners: dict[int, int] = {}
        self._held: dict[int, set[int]] = {}
        self._counts = Column()
        self._proven: dict[int, set[int]] = {}
        self._proven_counts = Column()
        self._bits: dict[int, int] = {}

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
        bit = self._bit(slot)
        owners = self._owners
        get = owners.get
        seen: int | None = None
        joined = 0
        for name in hashes:
            mask = get(name)
            if mask is None:
                owners[name] = bit
            elif mask is seen:
                owners[name] = joined
            elif not mask & bit:
                seen, joined = mask, mask | bit
                owners[name] = joined
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
            self._disown(slot, gone)
            proven = self._proven.get(slot)
            if proven:
                proven -= gone
                self._proven_counts[slot] = len(proven)

    def clear(self, slot: int) -> None:
        self._disown(slot, self._held.pop(slot, ()))
        self._proven.pop(slot, None)
        self._counts[slot] = self._proven_counts[slot] = 0
        self._bits.pop(slot, None)

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
        """Blocks held in a row from `chain[start]` on, by slot; slots without any are left out.

        `among` masks the slots that count (-1: all).
        """
        found: dict[int, int] = {}
        matching = self._owners.get(chain[start], 0) & among if start < len(chain) else 0
        if not matching:
            return found
        seen: int | None = None
        get = self._owners.get
        for position in range(start + 1, len(chain)):
            mask = get(chain[position], 0)
            if mask is seen:
                continue
            seen = mask
            still = matching & mask
            if still != matching:
                _record(found, matching ^ still, position - start)
                matching = still
                if not matching:
                    return found
        _record(found, matching, len(chain) - start)
        return found

    def check(self) -> None:
        """Masks and sets say the same; nothing is kept for blocks without owners."""
        assert all(mask > 0 for mask in self._owners.values())
        by_slot: dict[int, set[int]] = {}
        for name, mask in self._owners.items():
            for slot in slots_in(mask):
                by_slot.setdefault(slot, set()).add(name)
        assert by_slot == {slot: held for slot, held in self._held.items() if held}
        assert all(self._counts[slot] == len(held) for slot, held in self._held.items())
        for slot, proven in self._proven.items():
            assert proven <= self._held.get(slot, set())
            assert self._proven_counts[slot] == len(proven)

    def _bit(self, slot: int) -> int:
        """One int object per slot: blocks that only it owns share it."""
        bit = self._bits.get(slot)
        if bit is None:
            bit = self._bits[slot] = 1 << slot
        return bit

    def _disown(self, slot: int, hashes: Iterable[int]) -> None:
        owners = self._owners
        bit = self._bit(slot)
        seen: int | None = None
        rest = 0
        for name in hashes:
            mask = owners[name]
            if mask is not seen:
                seen, rest = mask, mask ^ bit
            if rest:
                owners[name] = rest
            else:
                del owners[name]


def slots_in(mask: int) -> list[int]:
    """Positions of the set bits, ascending."""
    if mask.bit_count() > _MANY_BITS:
        packed = np.frombuffer(mask.to_bytes((mask.bit_length() + 7) // 8, "little"), dtype=np.uint8)
        positions: list[int] = np.flatnonzero(np.unpackbits(packed, bitorder="little")).tolist()
        return positions
    found = []
    while mask:
        lowest = mask & -mask
        found.append(lowest.bit_length() - 1)
        mask ^= lowest
    return found


def _record(found: dict[int, int], slots: int, blocks: int) -> None:
    if slots & (slots - 1):
        found.update(dict.fromkeys(slots_in(slots), blocks))
    else:
        found[slots.bit_length() - 1] = blocks
