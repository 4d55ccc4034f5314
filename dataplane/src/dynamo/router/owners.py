"""Owner masks by block: which slots have it (bit n: slot n), and how far each slot has a given prompt.

A flat dictionary from chained sequence hash to a mask answers for all slots at once: walking a prompt's chain and
intersecting masks leaves, block by block, the slots that still match. The walk is exact: it stops at the first block a
slot lacks, as engines do, even if later blocks survived an eviction. (Galloping over the chain would take fewer
look-ups and count blocks behind such a hole.) Blocks of one prompt share their mask objects, so most steps of the walk
are one look-up and one identity check. Measured by `benchmarks.index`.

Memory: per distinct block one dictionary entry and one int, about 140 bytes. Used by `index` and `active`; pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

_MANY_BITS = 16
"""From here on numpy unpacks a mask quicker than bit twiddling."""


class OwnerMasks:
    """Only the masks: whoever owns one knows which blocks each slot has, and takes away only those."""

    def __init__(self) -> None:
        self._owners: dict[int, int] = {}
        self._bits: dict[int, int] = {}

    def __len__(self) -> int:
        """Distinct blocks."""
        return len(self._owners)

    def add(self, slot: int, hashes: Iterable[int]) -> None:
        """Blocks that `slot` has already are left as they are."""
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

    def take_away(self, slot: int, hashes: Iterable[int]) -> None:
        """`slot` must have all of them."""
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

    def forget(self, slot: int) -> None:
        """The slot, which has nothing any more, may be gone for good."""
        self._bits.pop(slot, None)

    def match(self, chain: Sequence[int], start: int = 0, among: int = -1) -> dict[int, int]:
        """Blocks had in a row from `chain[start]` on, by slot; slots without any are left out.

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

    def by_slot(self) -> dict[int, set[int]]:
        """The blocks of each slot, from the masks; slow, for checks."""
        assert all(mask > 0 for mask in self._owners.values())
        found: dict[int, set[int]] = {}
        for name, mask in self._owners.items():
            for slot in slots_in(mask):
                found.setdefault(slot, set()).add(name)
        return found

    def _bit(self, slot: int) -> int:
        """One int object per slot: blocks that only it owns share it."""
        bit = self._bits.get(slot)
        if bit is None:
            bit = self._bits[slot] = 1 << slot
        return bit


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
