"""How many replicas every generation of the workers may have now. Pure; called by the graph's plan on every pass.

A pass sees all generations as they are and says what is allowed next; nothing is remembered between passes, so a
revert, a third edit or a restart of the operator is only another look. Two bounds hold at every step, per component:

  replicas of all generations   <= desired + maxSurge, where they are not more already
  available of all generations  >= desired - maxUnavailable, as far as they were

A generation serves only as a whole: its workers find each other in their own runtime namespace, so decode workers
without prefill workers of their generation answer nothing. Workers of the new generation count once the frontends know
them. The last replica of a generation that still serves is kept until all components of the graph can do without it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from dynamo_operator.render import names

DEFAULT_LIMIT = "25%"


@dataclass(frozen=True, slots=True)
class Limits:
    """Of one component's rollout, in replicas; at least one of the two is not 0."""

    surge: int
    unavailable: int
    is_recreate: bool = False


@dataclass(frozen=True, slots=True)
class Generation:
    """One component's workload of one generation.

    replicas: what its spec asks for; 0 without a workload. pods: what is there. available: what serves.
    has_pods: True while pods exist, terminating ones included; only looked at for the Recreate strategy.
    """

    name: str
    hash8: str
    replicas: int = 0
    pods: int = 0
    available: int = 0
    has_pods: bool = False


@dataclass(frozen=True, slots=True)
class Roll:
    """One component with its new generation and the older ones, oldest first."""

    component: str
    desired: int
    limits: Limits
    new: Generation
    old: tuple[Generation, ...] = ()


def limits(desired: int, annotations: Mapping[str, str]) -> Limits:
    """Limits by a component's annotations: surge rounds up, unavailable down, as Deployments do."""
    surge = _share(annotations.get(names.MAX_SURGE, DEFAULT_LIMIT), desired, rounds_up=True)
    unavailable = _share(annotations.get(names.MAX_UNAVAILABLE, DEFAULT_LIMIT), desired, rounds_up=False)
    if surge == 0 and unavailable == 0:
        unavailable = 1
    return Limits(surge, min(unavailable, desired), annotations.get(names.STRATEGY) == "Recreate")


def targets(rolls: Iterable[Roll]) -> Mapping[str, int]:
    """Replicas by generation name; one without old generations gets what is desired."""
    rolls = tuple(rolls)
    serving = serving_hashes(rolls)
    steps = {roll.component: _step(roll, serving) for roll in rolls}
    if any(steps[roll.component][old.name] for roll in rolls for old in roll.old):
        for roll in rolls:
            steps[roll.component].update(_kept(roll, steps[roll.component], serving))
    return {name: replicas for step in steps.values() for name, replicas in step.items()}


def serving_hashes(rolls: tuple[Roll, ...]) -> set[str]:
    """Every generation that has a worker of each component that it needs."""
    return {hash8 for hash8 in _hashes(rolls) if _serves(hash8, rolls)}


def serving_hash(rolls: Iterable[Roll]) -> str | None:
    """The generation that takes most of the traffic: the newest old one that serves, until none does; then the new."""
    rolls = tuple(rolls)
    old = [each.hash8 for roll in rolls for each in roll.old]
    for hash8 in reversed(list(dict.fromkeys(old))):
        if _serves(hash8, rolls):
            return hash8
    return next((roll.new.hash8 for roll in rolls), None)


def _hashes(rolls: tuple[Roll, ...]) -> set[str]:
    return {each.hash8 for roll in rolls for each in (roll.new, *roll.old)}


def _serves(hash8: str, rolls: tuple[Roll, ...]) -> bool:
    """Whether every component that this generation needs has a worker in it.

    A component that is new to the graph is not asked of older generations.
    """
    for roll in rolls:
        mine = [each for each in (roll.new, *roll.old) if each.hash8 == hash8]
        is_needed = bool(mine) or bool(roll.old)
        if roll.desired > 0 and is_needed and not any(each.available for each in mine):
            return False
    return any(each.available for roll in rolls for each in (roll.new, *roll.old) if each.hash8 == hash8)


def _step(roll: Roll, serving: set[str]) -> dict[str, int]:
    if not roll.old:
        return {roll.new.name: roll.desired}
    if roll.limits.is_recreate:
        is_gone = not any(each.replicas or each.has_pods for each in roll.old)
        return {**{each.name: 0 for each in roll.old}, roll.new.name: roll.desired if is_gone else 0}
    return {**_old_targets(roll, serving), roll.new.name: _new_target(roll)}


def _new_target(roll: Roll) -> int:
    room = roll.desired + roll.limits.surge - sum(max(each.replicas, each.pods) for each in roll.old)
    return min(roll.desired, max(roll.new.replicas, room))


def _old_targets(roll: Roll, serving: set[str]) -> dict[str, int]:
    """Scale down what does not run first, then what runs in a generation that cannot serve, or more than is needed.

    Headroom keeps as many replicas as must be available, and one more for each new one that is not. What is left of it
    once nothing idle remains is therefore never more than what runs beyond that bound.
    """
    least = roll.desired - roll.limits.unavailable
    every = (roll.new, *roll.old)
    running = {each.name: min(each.available, each.replicas) for each in every}
    usable = {each.name: running[each.name] if each.hash8 in serving else 0 for each in every}
    new_unavailable = max(0, roll.new.replicas - usable[roll.new.name])
    headroom = max(0, sum(each.replicas for each in every) - least - new_unavailable)
    surplus = max(0, sum(usable.values()) - least)
    left = {each.name: each.replicas for each in roll.old}
    for each in roll.old:
        removed = min(headroom, each.replicas - running[each.name])
        left[each.name] -= removed
        headroom -= removed
    for each in roll.old:
        is_usable = usable[each.name] > 0
        removed = min(headroom, surplus if is_usable else headroom, left[each.name])
        left[each.name] -= removed
        headroom -= removed
        surplus -= removed if is_usable else 0
    return left


def _kept(roll: Roll, step: Mapping[str, int], serving: set[str]) -> dict[str, int]:
    """The last worker of the newest serving generation that this step would end too early."""
    if roll.limits.is_recreate or any(step[each.name] for each in roll.old):
        return {}
    if roll.new.replicas == 0 and roll.limits.surge == 0:
        return {}  # keeping it would leave the new generation no room to start
    last = next((each for each in reversed(roll.old) if each.hash8 in serving and each.replicas), None)
    return {last.name: 1} if last else {}


def _share(text: str, desired: int, *, rounds_up: bool) -> int:
    """Replicas meant by a count or a percentage; what is neither counts as the default."""
    stem = text.strip()
    if stem.isascii() and stem.isdigit():
        return int(stem)
    percent = stem.removesuffix("%")
    if not (stem.endswith("%") and percent.isascii() and percent.isdigit()):
        percent = DEFAULT_LIMIT.removesuffix("%")
    product = int(percent) * desired
    return -(-product // 100) if rounds_up else product // 100
