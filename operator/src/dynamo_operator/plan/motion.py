"""Which components' replicas start or end by a change, how, and why. Pure; called by the preview.

Workers of a graph roll in generations, all of them together. Any other component is replaced in place by what runs it;
that follows the same bounds, so it is told as a roll of its own. Restarts on request replace in place, too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from dynamo_operator.api import Component, thaw
from dynamo_operator.kube.objects import LEADER_WORKER_SET
from dynamo_operator.plan.differences import Difference
from dynamo_operator.plan.graph import Facts, rolls_of
from dynamo_operator.plan.restart import restart_spec
from dynamo_operator.plan.rollout import Generation, Limits, Roll, limits
from dynamo_operator.plan.side import Side
from dynamo_operator.render import names

_ONE_BY_ONE = Limits(surge=0, unavailable=1)
_NOT_OF_PODS = ("replicas", "scalingAdapter", "minAvailable")


@dataclass(frozen=True, slots=True)
class Motion:
    """`is_with_others`: it rolls together with the other components of which this is said."""

    roll: Roll
    reasons: tuple[str, ...]
    is_with_others: bool = False


def motions(
    old: Side | None, new: Side, fields: tuple[Difference, ...], ready: Mapping[str, int]
) -> tuple[Motion, ...]:
    """Only components that move. `fields` are the differences between the two manifests."""
    if old is None:
        return tuple(_started(new))
    together = {roll.component: roll for roll in _generations(old, new, ready)}
    is_rolling = any(roll.old for roll in together.values())
    found = []
    for name in dict.fromkeys([*new.components, *old.components]):
        if is_rolling and name in together:
            found.append(Motion(together[name], _generation_reasons(together[name], old, new, fields), True))
        elif (motion := _in_place(name, old, new, fields, ready)) is not None:
            found.append(motion)
    return tuple(found)


def _started(new: Side) -> Iterator[Motion]:
    for name, component in new.components.items():
        if component.replicas:
            roll = Roll(name, component.replicas, Limits(0, 0), Generation(name, "after"))
            yield Motion(roll, ("it is new",))


def _generations(old: Side, new: Side, ready: Mapping[str, int]) -> tuple[Roll, ...]:
    """The operator's own view of the workers right after the change."""
    if not (old.has_generations and new.has_generations):
        return ()
    seen = new.surveyed(old.settled(ready))
    return rolls_of(seen, Facts())


def _in_place(
    name: str, old: Side, new: Side, fields: tuple[Difference, ...], ready: Mapping[str, int]
) -> Motion | None:
    was = old.components[name].replicas if name in old.components else 0
    wanted = new.components[name].replicas if name in new.components else 0
    is_replaced = was > 0 and wanted > 0 and old.pods(name) != new.pods(name)
    restart = _restart(name, old, new)
    available = min(was, ready.get(name, was))
    if (is_replaced or restart) and was:
        reasons = _reasons(name, fields) if is_replaced else ()
        roll = Roll(
            name,
            wanted,
            _limits(new.workload(name), wanted),
            Generation(f"{name} (new)", "after"),
            (Generation(name, "before", was, was, available),),
        )
        return Motion(roll, reasons or restart or ("its pods are rendered differently",))
    if was == wanted:
        return None
    roll = Roll(name, wanted, Limits(0, 0), Generation(name, "same", was, was, available))
    return Motion(roll, (f"scaled from {was} to {wanted}",))


def _limits(workload: Mapping[str, Any] | None, desired: int) -> Limits:
    """Of what runs a component in place, by its rendered strategy."""
    if workload is None or workload["kind"] == LEADER_WORKER_SET.name:
        return _ONE_BY_ONE
    strategy = workload["spec"].get("strategy") or {}
    rolling = strategy.get("rollingUpdate") or {}
    return limits(
        desired,
        {
            names.STRATEGY: str(strategy.get("type")),
            names.MAX_SURGE: str(rolling.get("maxSurge")),
            names.MAX_UNAVAILABLE: str(rolling.get("maxUnavailable")),
        },
    )


def _restart(name: str, old: Side, new: Side) -> tuple[str, ...]:
    asked, before = restart_spec(new.root.document), restart_spec(old.root.document)
    if asked is None or (before is not None and before.id == asked.id) or name not in new.components:
        return ()
    done = (new.root.document.get("status") or {}).get("restart") or {}
    return () if done.get("observedID") == asked.id else (f"restart {asked.id!r} is asked for",)


def _generation_reasons(roll: Roll, old: Side, new: Side, fields: tuple[Difference, ...]) -> tuple[str, ...]:
    if not roll.old:
        return ("it is new",)
    generation = f"new worker generation {roll.new.hash8}" if roll.new.hash8 else "the graph no longer has it"
    own = _reasons(roll.component, fields)
    if own:
        return (generation, *own)
    others = [name for name, each in new.components.items() if each.is_worker and _has_changed(name, old, new)]
    because = f", and {', '.join(others)} changed" if others else ""
    return (f"{generation}: all workers roll together{because}",)


def _has_changed(name: str, old: Side, new: Side) -> bool:
    before, after = old.components.get(name), new.components[name]
    return before is None or _of_pods(before) != _of_pods(after)


def _of_pods(component: Component) -> dict[str, Any]:
    return {key: value for key, value in thaw(component.spec).items() if key not in _NOT_OF_PODS}


def _reasons(component: str, fields: tuple[Difference, ...]) -> tuple[str, ...]:
    """Differences of the manifest that reach a component's pods: its own, and the graph's."""
    return tuple(str(each) for each in fields if _reaches(component, each.path))


def _reaches(component: str, path: str) -> bool:
    if path.startswith("spec.components["):
        own = f"spec.components[{component}]."
        return path.startswith(own) and path.removeprefix(own).partition(".")[0] not in _NOT_OF_PODS
    if path.startswith("spec."):
        return path.removeprefix("spec.").partition(".")[0] not in (*_NOT_OF_PODS, "restart", "experimental")
    return path.startswith("metadata.annotations")
