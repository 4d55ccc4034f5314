"""One prompt against a roster: gathers what the router knows into the columns that costs are computed from.

Reads the router's state, changes nothing. Built by the router for one decision.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from dynamo.router.active import ActiveRequests
from dynamo.router.caches import Caches
from dynamo.router.columns import Flags, Ints
from dynamo.router.config import CostWeights
from dynamo.router.copies import Reuses, price_copies
from dynamo.router.cost import Candidates, Copies, Prompt
from dynamo.router.fleet import Roster
from dynamo.router.loads import Loads

_SATURATED_STEPS = 4
"""Engine steps of prompt tokens waiting (about a second) from which a copy elsewhere is the better answer. Fewer would
call every worker saturated in the burst of first prompts that follows a cold start."""
_SATURATED_BLOCKS = 0.9
"""Fraction of a slot's KV blocks in use from which a new request may have to wait for others to end."""


class Sight:
    """A prompt's blocks (`chain`: sequence hashes), and who has how many of them."""

    def __init__(
        self, caches: Caches, active: ActiveRequests, reuses: Reuses, chain: Sequence[int], block_size: int
    ) -> None:
        self.chain = chain
        self.overlaps = caches.match(chain)
        self._caches = caches
        self._active = active
        self._reuses = reuses
        self._block_size = block_size

    def prompt(self, token_count: int) -> Prompt:
        return Prompt(token_count, len(self.chain) or token_count // self._block_size, self._block_size)

    def candidates(self, roster: Roster, loads: Loads) -> Candidates:
        slots = roster.slots
        shared = _by_position(self._active.match(self.chain), slots)
        return Candidates(
            requests=loads.requests,
            prefill_tokens=loads.prefill_tokens,
            decode_blocks=loads.decode_blocks,
            shared_blocks=shared,
            device_overlap=_by_position(self.overlaps.device, slots),
            host_overlap=_by_position(self.overlaps.host, slots),
            disk_overlap=_by_position(self.overlaps.disk, slots),
            total_blocks=roster.total_blocks,
            held_blocks=np.maximum(loads.decode_blocks, self._caches.held_of(slots)),
            proven_blocks=self._caches.proven_of(slots),
            is_saturated=self._saturated(roster, loads, shared),
        )

    def copies(self, them: Candidates, roster: Roster, weights: CostWeights) -> Copies:
        def users(position: int, block: int) -> int:
            return self._active.users(roster.members[position].slot, block)

        return price_copies(them, self.chain, weights, users, self._reuses.of)

    def _saturated(self, roster: Roster, loads: Loads, shared: Ints) -> Flags:
        saturated: Flags = (
            (loads.prefill_tokens > _SATURATED_STEPS * roster.step_tokens)
            | (loads.requests >= roster.most_requests)
            | (loads.decode_blocks + len(self.chain) - shared > _SATURATED_BLOCKS * roster.total_blocks)
        )
        return saturated


def _by_position(blocks: Mapping[int, int], slots: Ints) -> Ints:
    """A column from numbers by slot; slots that are not named have 0."""
    if not blocks:
        return np.zeros(len(slots), dtype=np.int64)
    named = np.fromiter(blocks.keys(), dtype=np.int64, count=len(blocks))
    by_slot = np.zeros(max(int(named.max()), int(slots.max())) + 1, dtype=np.int64)
    by_slot[named] = np.fromiter(blocks.values(), dtype=np.int64, count=len(blocks))
    column: Ints = by_slot[slots]
    return column
