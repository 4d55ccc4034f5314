"""What a router believes the workers' caches hold: what events reported, and what it routed itself.

With KV events, prompts just routed count as cached for a short while beside the reported blocks (a request's prefix is
computed once, wherever the second such request goes). Without, they are all there is. Called by the router; pure.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from dynamo.router.config import CachePolicy, RouterConfig
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
        if overlap:
            self._reported.prove(slot, chain[:overlap])
        if self._expiring is not None:
            self._expiring.put(slot, chain, request_id, now_s)
        if self._bounded is not None:
            self._bounded.put(slot, chain, capacity or _UNKNOWN_CAPACITY)

    def expire(self, now_s: float, is_pending: Callable[[str], bool]) -> None:
        if self._expiring is not None:
            self._expiring.expire(now_s, is_pending)

    def match(self, chain: Sequence[int]) -> Overlaps:
        assumed = self._expiring or self._bounded
        return self._reported.match(chain, assumed.match(chain) if assumed is not None else {})

    def held(self, slot: int) -> int:
        """Device blocks, reported or assumed, whichever are more."""
        assumed = self._expiring or self._bounded
        return max(self._reported.held(slot), assumed.held(slot) if assumed is not None else 0)

    def proven(self, slot: int) -> int:
        return self._reported.proven(slot)

    def check(self) -> None:
        self._reported.check()
        for assumed in (self._expiring, self._bounded):
            if assumed is not None:
                assumed.check()
