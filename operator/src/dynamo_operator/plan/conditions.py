"""Conditions and small status facts that graphs and component deployments share. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Status = dict[str, Any]
_STATUSES = {True: "True", False: "False", None: "Unknown"}


@dataclass(frozen=True, slots=True)
class Verdict:
    """One condition without its time; `is_true` is None where nobody knows."""

    type: str
    is_true: bool | None
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Change:
    """A transition worth an Event."""

    reason: str
    message: str
    is_warning: bool = False


def conditions(
    previous: Mapping[str, Any], verdicts: Sequence[Verdict], now: str, generation: int
) -> list[dict[str, Any]]:
    """The condition list; a condition keeps the time since when its status holds."""
    before = {each.get("type"): each for each in previous.get("conditions") or ()}
    return [_condition(verdict, before.get(verdict.type) or {}, now, generation) for verdict in verdicts]


def condition_of(status: Mapping[str, Any], kind: str) -> Mapping[str, Any]:
    """The condition of one type; empty where there is none."""
    return next((each for each in status.get("conditions") or () if each.get("type") == kind), {})


def _condition(verdict: Verdict, before: Mapping[str, Any], now: str, generation: int) -> dict[str, Any]:
    status = _STATUSES[verdict.is_true]
    is_same = before.get("status") == status and before.get("lastTransitionTime")
    return {
        "type": verdict.type,
        "status": status,
        "reason": verdict.reason,
        "message": verdict.message,
        "observedGeneration": generation,
        "lastTransitionTime": before["lastTransitionTime"] if is_same else now,
    }
