"""Chooses one of the eligible members: by cost in mode kv, by turn, chance or requests in flight in the others.

Deciding only: reads the router's state through `Sight`, changes nothing, says why.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from dynamo.router.active import ActiveRequests, SlotLoad
from dynamo.router.caches import Caches
from dynamo.router.config import Mode, RouterConfig
from dynamo.router.cost import Candidate, Cost, Prompt, costs
from dynamo.router.fleet import Member
from dynamo.router.select import cheapest, next_in_turn, two_choices
from dynamo.router.tiers import Overlaps

SCORES_KEPT = 32
_SATURATED_STEPS = 4
"""Engine steps of prompt tokens waiting (about a second) from which a copy elsewhere is the better answer. Fewer would
call every worker saturated in the burst of first prompts that follows a cold start."""
_SATURATED_BLOCKS = 0.9
"""Fraction of a slot's KV blocks in use from which a new request may have to wait for others to end."""


@dataclass(frozen=True, slots=True)
class Choice:
    """The member, the reason in words, and every candidate's cost where costs decided."""

    member: Member
    reason: str
    scores: Mapping[str, float] = field(default_factory=dict)
    best_overlap: int = 0


class Sight:
    """One prompt against the fleet: looks each thing up once, when first wanted."""

    def __init__(
        self,
        caches: Caches,
        active: ActiveRequests,
        load: Callable[[int], SlotLoad],
        chain: Sequence[int],
        block_size: int,
    ) -> None:
        self.chain = chain
        self.block_size = block_size
        self.overlaps: Overlaps = caches.match(chain)
        self._in_use = active.match(chain)
        self._caches = caches
        self._active = active
        self._load = load

    def candidate(self, member: Member) -> Candidate:
        slot = member.slot
        load = self._load(slot)
        overlap = self.overlaps.device.get(slot, 0)
        card = member.card
        total = card.total_kv_blocks
        in_use = self._in_use.get(slot, 0)
        users, is_computed = self._active.users(slot, self.chain[overlap - 1]) if overlap else (0, False)
        is_saturated = (
            load.prefill_tokens > _SATURATED_STEPS * member.step_tokens
            or (card.max_num_seqs is not None and load.requests >= card.max_num_seqs)
            or (total is not None and load.decode_blocks + len(self.chain) - in_use > _SATURATED_BLOCKS * total)
        )
        return Candidate(
            slot=slot,
            requests=load.requests,
            prefill_tokens=load.prefill_tokens,
            decode_blocks=load.decode_blocks,
            shared_blocks=in_use,
            device_overlap=overlap,
            host_overlap=self.overlaps.host.get(slot, 0),
            disk_overlap=self.overlaps.disk.get(slot, 0),
            prefix_users=users,
            prefix_is_computed=is_computed,
            total_blocks=total,
            held_blocks=max(load.decode_blocks, self._caches.held(slot)),
            proven_blocks=self._caches.proven(slot),
            is_saturated=is_saturated,
        )


def by_cost(
    members: Sequence[Member], sight: Sight, token_count: int, config: RouterConfig, rng: random.Random
) -> Choice:
    """Mode kv: the cheapest by `cost`, or a draw around it when the temperature is above 0."""
    prompt = Prompt(token_count, len(sight.chain) or token_count // sight.block_size, sight.block_size)
    candidates = [sight.candidate(member) for member in members]
    found = costs(candidates, prompt, config.weights)
    totals = [cost.total for cost in found]
    chosen = cheapest(totals, config.temperature, rng)
    nearest = heapq.nsmallest(SCORES_KEPT, range(len(totals)), key=totals.__getitem__)
    return Choice(
        member=members[chosen],
        reason=_reason(members, candidates, prompt, found, chosen, nearest),
        scores={members[position].label: round(totals[position], 3) for position in nearest},
        best_overlap=max(candidate.device_overlap for candidate in candidates),
    )


def by_requests(
    mode: Mode,
    members: Sequence[Member],
    load: Callable[[int], SlotLoad],
    last: tuple[int, int] | None,
    rng: random.Random,
) -> Choice:
    """The modes that look at no prompt. Direct, and kv for a prompt nobody tokenized, go by requests in flight."""
    name = mode.value
    if len(members) == 1:
        return Choice(members[0], f"{name}: the only eligible worker")
    if mode is Mode.ROUND_ROBIN:
        position = next_in_turn([(member.worker_id, member.dp_rank) for member in members], last)
        return Choice(members[position], f"{name}: next of {len(members)}")
    if mode is Mode.RANDOM:
        return Choice(rng.choice(members), f"{name}: one of {len(members)}")
    requests = [load(member.slot).requests for member in members]
    position = two_choices(requests, rng) if mode is Mode.POWER_OF_TWO else cheapest(requests, 0.0, rng)
    return Choice(members[position], f"{name}: {requests[position]} requests in flight, of {len(members)} workers")


def _reason(
    members: Sequence[Member],
    candidates: Sequence[Candidate],
    prompt: Prompt,
    found: Sequence[Cost],
    chosen: int,
    nearest: Sequence[int],
) -> str:
    """E.g. `kv: prefix 12/16 blocks, prefill 4 blocks, decode 30 blocks, cost 34.0 (next: w2 51.0)`."""
    cost, candidate = found[chosen], candidates[chosen]
    words = f"kv: prefix {candidate.device_overlap}/{prompt.blocks} blocks"
    if candidate.host_overlap or candidate.disk_overlap:
        words += f" (+{candidate.host_overlap} host, {candidate.disk_overlap} disk)"
    words += f", prefill {cost.prefill:.4g} blocks, decode {cost.decode:.4g} blocks"
    if cost.duplicate:
        words += f", duplicate {cost.duplicate:.4g}"
    if cost.eviction:
        words += f", eviction {cost.eviction:.4g}"
    words += f", cost {cost.total:.1f}"
    other = next((position for position in nearest if position != chosen), None)
    return words if other is None else f"{words} (next: {members[other].label} {found[other].total:.1f})"
