"""What the fleet has cached: one prefix index per storage tier.

Host and disk continue a prompt where the device tier stops; they never count the same block twice. Blocks of a shared
external store belong to no worker and are not indexed.
Fed by the router from events (or, without events, from its own decisions); pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dynamo.router.index import PrefixIndex
from dynamo.wire.router_events import Tier

_CONTINUATIONS = (Tier.HOST, Tier.DISK)


@dataclass(frozen=True, slots=True)
class Overlaps:
    """Leading blocks of one prompt by slot; `host` and `disk` count on from where the tier before stopped."""

    device: Mapping[int, int]
    host: Mapping[int, int]
    disk: Mapping[int, int]


class TieredIndex:
    """Cached blocks by tier and slot."""

    def __init__(self) -> None:
        self._tiers = {tier: PrefixIndex() for tier in (Tier.DEVICE, *_CONTINUATIONS)}

    @property
    def device(self) -> PrefixIndex:
        return self._tiers[Tier.DEVICE]

    def store(self, slot: int, hashes: Sequence[int], tier: Tier) -> None:
        if tier in self._tiers:
            self._tiers[tier].store(slot, hashes)

    def remove(self, slot: int, hashes: Sequence[int], tier: Tier) -> None:
        if tier in self._tiers:
            self._tiers[tier].remove(slot, hashes)

    def clear(self, slot: int) -> None:
        for index in self._tiers.values():
            index.clear(slot)

    def replace(self, slot: int, tiers: Mapping[Tier, Sequence[int]]) -> None:
        for tier, index in self._tiers.items():
            index.replace(slot, tiers.get(tier, ()))

    def match(self, chain: Sequence[int], predicted: Mapping[int, int]) -> Overlaps:
        """`predicted`: leading blocks that slots are about to hold; the longer of both counts as device."""
        device = self._tiers[Tier.DEVICE].match(chain)
        for slot, blocks in predicted.items():
            if blocks > device.get(slot, 0):
                device[slot] = blocks
        host = self._continue(Tier.HOST, chain, device)
        disk = self._continue(
            Tier.DISK, chain, {slot: device.get(slot, 0) + host.get(slot, 0) for slot in device | host}
        )
        return Overlaps(device, host, disk)

    def check(self) -> None:
        for index in self._tiers.values():
            index.check()

    def _continue(self, tier: Tier, chain: Sequence[int], reached: Mapping[int, int]) -> dict[int, int]:
        """Blocks of `tier` in a row from where each slot stands; slots at the same position are walked together."""
        index = self._tiers[tier]
        if not len(index):
            return {}
        standing: dict[int, int] = {}
        for slot, position in reached.items():
            standing[position] = standing.get(position, 0) | (1 << slot)
        moved = sum(standing.values())
        found = index.match(chain, 0, ~moved)
        for position, slots in standing.items():
            found.update(index.match(chain, position, slots))
        return found
