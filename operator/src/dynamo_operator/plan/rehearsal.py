"""A rollout played through before it happens, by the very rules that the operator rolls with. Pure.

Time is counted in steps: in each, the rollout's next targets are carried out, replicas that must end are gone, and
those that were started are not ready yet. That is the worst moment of the step; what it shows is never better than what
a cluster goes through whose new workers do become ready. Called by the preview of a change.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from dynamo_operator.plan.rollout import Generation, Roll, serving_hashes, targets

MOST_STEPS = 1000
"""Far beyond any rollout: with a surge of one, a component of that many replicas takes as many steps."""


@dataclass(frozen=True, slots=True)
class Moment:
    """One component at one step: replicas of older generations and of the new one, and how many of all can answer.

    `ending` of the older ones, or of the new one where there are none, are told to end in this step and still hold
    their GPUs.
    """

    component: str
    old: int
    new: int
    serving: int
    ending: int = 0


def rehearse(rolls: tuple[Roll, ...]) -> tuple[tuple[Moment, ...], ...]:
    """The states of a rollout, the present one first and the settled one last; one alone where nothing moves."""
    states = [_moments(rolls)]
    for _ in range(MOST_STEPS):
        wanted = targets(rolls)
        scaled = tuple(_scaled(roll, wanted) for roll in rolls)
        settled = tuple(replace(roll, new=replace(roll.new, available=roll.new.replicas)) for roll in scaled)
        if settled == rolls:
            break
        states.append(_moments(scaled, before=rolls))
        rolls = settled
    last = _moments(rolls)
    return tuple(states) if states[-1] == last else (*states, last)


def _moments(rolls: tuple[Roll, ...], before: tuple[Roll, ...] | None = None) -> tuple[Moment, ...]:
    serving = serving_hashes(rolls)
    return tuple(_moment(roll, was, serving) for roll, was in zip(rolls, before or rolls, strict=True))


def _moment(roll: Roll, was: Roll, serving: set[str]) -> Moment:
    every, previous = (roll.new, *roll.old), (was.new, *was.old)
    return Moment(
        component=roll.component,
        old=sum(each.replicas for each in roll.old),
        new=roll.new.replicas,
        serving=sum(each.available for each in every if each.hash8 in serving),
        ending=sum(max(0, then.replicas - now.replicas) for then, now in zip(previous, every, strict=True)),
    )


def _scaled(roll: Roll, wanted: Mapping[str, int]) -> Roll:
    return replace(
        roll,
        new=_with(roll.new, wanted.get(roll.new.name, 0)),
        old=tuple(_with(each, wanted.get(each.name, 0)) for each in roll.old),
    )


def _with(generation: Generation, replicas: int) -> Generation:
    """Controllers end what is not ready first."""
    return replace(
        generation, replicas=replicas, pods=replicas, available=min(generation.available, replicas), has_pods=False
    )
