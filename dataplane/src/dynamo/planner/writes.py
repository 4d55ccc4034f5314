"""Which changes of a decision may be written, given how steady the graph is. Pure.

The rule of the scale contract, with workers on their way counted as there: a settled graph takes any change; while
workers start, more may be asked for and those on their way may be cancelled; during a rollout, or before the operator
has seen the last change, nothing is written.
"""

from __future__ import annotations

from dataclasses import dataclass

from dynamo.planner.observation import Decision
from dynamo.planner.sight import Component, Sight, Steadiness
from dynamo.wire.cards import Role


@dataclass(frozen=True, slots=True)
class Write:
    role: Role
    component: str
    before: int
    after: int


def writes(decision: Decision, sight: Sight) -> tuple[list[Write], str]:
    """Changes in the order to write them, shrinking first, and why others have to wait."""
    due, waits = [], False
    for role, component in sight.components.items():
        after = decision.replicas.get(role, component.desired)
        if after == component.desired:
            continue
        if _is_allowed(component, after, sight.steadiness):
            due.append(Write(role, component.name, component.desired, after))
        else:
            waits = True
    due.sort(key=lambda write: (write.after > write.before, write.component))
    return due, sight.why if waits else ""


def _is_allowed(component: Component, after: int, steadiness: Steadiness) -> bool:
    match steadiness:
        case Steadiness.SETTLED:
            return True
        case Steadiness.GROWING:
            return after > component.desired or after >= component.ready
        case Steadiness.BLOCKED:
            return False
