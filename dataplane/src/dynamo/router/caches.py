"""What a router believes the workers' caches hold: what events reported, and what it routed itself.

With KV events, prompts just routed count as cached for a short while beside the reported blocks (a request's prefix is
computed once, wherever the second such request goes). Without, they are all there is. Called by the router; pure.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from dynamo.router.columns import Ints
from dynamo.router.config import CachePolicy, RouterConfig
from dynamo.router.index import PrefixIndex
from dynamo.router.predictions import BoundedIndex, ExpiringIndex
from dynamo.router.tiers import Overlaps, TieredIndex
from dynamo.wire.router_events import Tier

_UNKNOWN_CAPACITY = 16_384
"""Blocks assumed for a worker that does not say: upstream's default for its simulated engine."""


class Caches:
    """Reported and assumed cache contents by slot."""

    def __init__(self, config: RouterConfig) -> None:
        self._follows_events = config.uses_kv_events
        self._reported = TieredIndex()
        self._expiring: ExpiringIndex | None = None
        self._bounded: BoundedIndex | None = None
        if not config.uses_kv_events and config.cache_policy is CachePolicy.LRU:
            self._bounded = BoundedIndex()
        elif not config.uses_kv_events:
            self._expiring = ExpiringIndex(config.ttl_s)
        elif config.predicted_ttl_s is not None:
            self._expiring = ExpiringIndex(config.predicted_ttl_s)
        assumed = self._expiring or self._bounded
        self._assumed: PrefixIndex | None = assumed.index if assumed is not None else None
        self._proven = (
            self._assumed if self._assumed is not None and not self._follows_events else self._reported.device
        )

    def store(self, slot: int, hashes: Sequence[int], tier: Tier) -> None:
        if self._follows_events:
            self._reported.store(slot, hashes, tier)

    def remove(self, slot: int, hashes: Sequence[int], tier: Tier) -> None:
        self._reported.remove(slot, hashes, tier)

    def replace(self, slot: int, tiers: Mapping[Tier, Sequence[int]]) -> None:
        if self._follows_events:
            self._reported.replace(slot, tiers)

    def clear(self, slot: int) -> None:
        """The slot holds nothing, reported or assumed."""
        self._reported.clear(slot)
        for assumed in (self._expiring, self._bounded):
            if assumed is not None:
                assumed.clear(slot)

    def assume(
        self, slot: int, chain: Sequence[int], overlap: int, capacity: int | None, request_id: str, now_s: float
    ) -> None:
        """A prompt goes to `slot`, which reuses `overlap` leading blocks of it and will hold the rest."""
        self._proven.prove(slot, chain[:overlap])
        if self._expiring is not None:
            self._expiring.put(slot, chain, request_id, now_s)
        if self._bounded is not None:
            self._bounded.put(slot, chain, capacity or _UNKNOWN_CAPACITY)

    def expire(self, now_s: float, is_pending: Callable[[str], bool]) -> None:
        if self._expiring is not None:
            self._expiring.expire(now_s, is_pending)

    def match(self, chain: Sequence[int]) -> Overlaps:
        if not chain:
            return Overlaps({}, {}, {})
        return self._reported.match(chain, self._assumed.match(chain) if self._assumed is not None else {})

    def held_of(self, slots: Ints) -> Ints:
        """Device blocks by slot, reported or assumed, whichever are more."""
        reported = self._reported.device.held_of(slots)
        return reported if self._assumed is None else np.maximum(reported, self._assumed.held_of(slots))

    def proven_of(self, slots: Ints) -> Ints:
        """Of these, the blocks that a routed prompt reused."""
        return self._proven.proven_of(slots)

    def check(self) -> None:
        self._reported.check()
        for assumed in (self._expiring, self._bounded):
            if assumed is not None:
                assumed.check()
