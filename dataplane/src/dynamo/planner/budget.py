"""Fits what roles need into the GPU budget and the floors. Pure.

Called by `decide`. Workers that are leaving count until they are gone, so that swapping roles never exceeds the budget
in between.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dynamo.planner.observation import Bounds, Fleet
from dynamo.wire.cards import Role


@dataclass(frozen=True, slots=True)
class Fitted:
    replicas: Mapping[Role, int]
    note: str = ""
    """What bound, if anything did."""


def fit(wanted: Mapping[Role, int], fleets: Mapping[Role, Fleet], bounds: Bounds) -> Fitted:
    """At least the floors, within the budget; floors that exceed the budget leave everything as it is."""
    floors = {role: bounds.floors.get(role, 0) for role in wanted}
    goal = {role: max(count, floors[role]) for role, count in wanted.items()}
    costs = {role: fleets[role].gpus_per_replica for role in wanted}
    note = ""
    if bounds.min_gpus is not None:
        goal, grown = _grown(goal, costs, bounds)
        note = f"min_gpu_budget {bounds.min_gpus}" if grown else ""
    if bounds.max_gpus is None:
        return Fitted(goal, note)
    if _cost(floors, costs) > bounds.max_gpus:
        held = {role: fleets[role].desired for role in wanted}
        return Fitted(held, f"the floors take {_cost(floors, costs)} GPUs, max_gpu_budget is {bounds.max_gpus}")
    given = _shared(goal, floors, costs, bounds.max_gpus)
    if given != goal:
        note = f"max_gpu_budget {bounds.max_gpus}"
    staged = _staged(given, floors, fleets, costs, bounds.max_gpus)
    if staged != given:
        note = f"{note}, " * bool(note) + "waiting for GPUs of workers that are leaving"
    return Fitted(staged, note)


def _shared(
    goal: Mapping[Role, int], least: Mapping[Role, int], costs: Mapping[Role, int], gpus: int
) -> dict[Role, int]:
    """Hands out replicas one by one to the role that is furthest from its goal, as long as GPUs last."""
    given = dict(least)
    left = gpus - _cost(given, costs)
    while True:
        lacking = [role for role in goal if given[role] < goal[role] and costs[role] <= left]
        if not lacking:
            return given
        neediest = min(lacking, key=lambda role: (given[role] / goal[role], role.value))
        given[neediest] += 1
        left -= costs[neediest]


def _staged(
    given: Mapping[Role, int],
    floors: Mapping[Role, int],
    fleets: Mapping[Role, Fleet],
    costs: Mapping[Role, int],
    gpus: int,
) -> dict[Role, int]:
    """Growth that fits beside everything that still holds GPUs; shrinking is always allowed."""
    leaving = {role: fleets[role].held - min(fleets[role].desired, count) for role, count in given.items()}
    free = gpus - _cost(leaving, costs)
    least = {role: min(count, max(floors[role], fleets[role].desired)) for role, count in given.items()}
    if _cost(least, costs) > free:
        return least
    return _shared(given, least, costs, free)


def _grown(goal: Mapping[Role, int], costs: Mapping[Role, int], bounds: Bounds) -> tuple[dict[Role, int], bool]:
    grown = dict(goal)
    while _cost(grown, costs) < (bounds.min_gpus or 0) and any(costs.values()):
        least = min((role for role in grown if costs[role]), key=lambda role: (grown[role] * costs[role], role.value))
        grown[least] += 1
    return grown, grown != goal


def _cost(replicas: Mapping[Role, int], costs: Mapping[Role, int]) -> int:
    return sum(count * costs[role] for role, count in replicas.items())
