"""Chooses one of the eligible members: by cost in mode kv, by turn, chance or requests in flight in the others.

Deciding only: reads the router's state through `Sight`, changes nothing, says why.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from dynamo.router.config import Mode, RouterConfig
from dynamo.router.cost import Candidates, Costs, Prompt, costs
from dynamo.router.fleet import Member, Roster
from dynamo.router.loads import Loads
from dynamo.router.select import cheapest, next_in_turn, two_choices
from dynamo.router.sight import Sight

SCORES_KEPT = 32


@dataclass(frozen=True, slots=True)
class Choice:
    """The member, the reason in words, and every candidate's cost where costs decided."""

    member: Member
    reason: str
    scores: Mapping[str, float] = field(default_factory=dict)
    best_overlap: int = 0


def by_cost(
    roster: Roster, loads: Loads, sight: Sight, token_count: int, config: RouterConfig, rng: random.Random
) -> Choice:
    """Mode kv: the cheapest by `cost`, or a draw around it when the temperature is above 0."""
    prompt = sight.prompt(token_count)
    candidates = sight.candidates(roster, loads)
    found = costs(candidates, prompt, config.weights, sight.copies(candidates, roster, config.weights))
    chosen = cheapest(found.total, config.temperature, rng)
    nearest: list[int] = np.argsort(found.total, kind="stable")[:SCORES_KEPT].tolist()
    members = roster.members
    scores = {members[position].label: round(float(found.total[position]), 3) for position in nearest}
    reason = _reason(candidates, prompt, found, chosen)
    other = next((position for position in nearest if position != chosen), None)
    if other is not None:
        reason += f" (next: {members[other].label} {found.total[other]:.1f})"
    return Choice(members[chosen], reason, scores, best_overlap=int(candidates.device_overlap.max()))


def by_requests(mode: Mode, roster: Roster, loads: Loads, last: tuple[int, int] | None, rng: random.Random) -> Choice:
    """The modes that look at no prompt. Direct, and kv for a prompt nobody tokenized, go by requests in flight."""
    name, members = mode.value, roster.members
    if len(members) == 1:
        return Choice(members[0], f"{name}: the only eligible worker")
    if mode is Mode.ROUND_ROBIN:
        return Choice(members[next_in_turn(members, last)], f"{name}: next of {len(members)}")
    if mode is Mode.RANDOM:
        return Choice(rng.choice(members), f"{name}: one of {len(members)}")
    requests = loads.requests
    position = two_choices(requests, rng) if mode is Mode.POWER_OF_TWO else cheapest(requests, 0.0, rng)
    return Choice(members[position], f"{name}: {requests[position]} requests in flight, of {len(members)} workers")


def _reason(them: Candidates, prompt: Prompt, found: Costs, chosen: int) -> str:
    """E.g. `kv: prefix 12/16 blocks, prefill 4 blocks, decode 30 blocks, cost 34.0`."""
    words = f"kv: prefix {them.device_overlap[chosen]}/{prompt.blocks} blocks"
    host, disk = them.host_overlap[chosen], them.disk_overlap[chosen]
    if host or disk:
        words += f" (+{host} host, {disk} disk)"
    words += f", prefill {found.prefill[chosen]:.4g} blocks, decode {found.decode[chosen]:.4g} blocks"
    if found.duplicate[chosen]:
        words += f", duplicate {found.duplicate[chosen]:.4g}"
    if found.eviction[chosen]:
        words += f", eviction {found.eviction[chosen]:.4g}"
    return f"{words}, cost {found.total[chosen]:.1f}"
