"""Which news of a status are worth an Event, and how soon a status should be written. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any

from dynamo_operator.plan.conditions import Change, condition_of
from dynamo_operator.plan.gangs import TOPOLOGY
from dynamo_operator.plan.status import READY


class Urgency(Enum):
    """How soon a status should be written."""

    NONE = "nothing changed"
    LATER = "only counts or words changed, or a component deployment has none yet: a little later, with what follows"
    NOW = "a condition, a phase, the state or the observed generation changed"


def urgency(previous: Mapping[str, Any], status: Mapping[str, Any]) -> Urgency:
    """A rollout of one pod changes counts several times within a second; readers act on conditions and phases."""
    if previous == status:
        return Urgency.NONE
    if _essence(previous) != _essence(status):
        is_first_lack = "state" not in status and not previous and not _is_available(status)
        return Urgency.LATER if is_first_lack else Urgency.NOW
    return Urgency.LATER


def graph_changes(previous: Mapping[str, Any], status: Mapping[str, Any]) -> tuple[Change, ...]:
    """Transitions of a graph between two statuses."""
    found = []
    ready, before = condition_of(status, READY), condition_of(previous, READY)
    if status["state"] == "failed":
        if (ready.get("reason"), ready.get("message")) != (before.get("reason"), before.get("message")):
            reason = "ValidationFailed" if ready["reason"] == "ValidationFailed" else "ReconcileError"
            found.append(Change(reason, ready["message"], is_warning=True))
    elif status["state"] != previous.get("state"):
        found.append(Change("Ready" if status["state"] == "successful" else "Reconciling", ready["message"]))
    found += _topology_change(condition_of(previous, TOPOLOGY), condition_of(status, TOPOLOGY))
    found += _phase_change("RollingUpdate", previous.get("rollingUpdate"), status.get("rollingUpdate"))
    found += _phase_change("Restart", previous.get("restart"), status.get("restart"))
    return tuple(found)


def component_changes(previous: Mapping[str, Any], status: Mapping[str, Any]) -> tuple[Change, ...]:
    """Transitions of a component deployment between two statuses."""
    now, before = condition_of(status, "Available"), condition_of(previous, "Available")
    if now["reason"] == "ValidationFailed":
        return (Change("ValidationFailed", now["message"], is_warning=True),)
    if now["status"] == before.get("status"):
        return ()
    return (Change("Ready" if now["status"] == "True" else "Reconciling", now["message"]),)


def _topology_change(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Change]:
    told = [(each.get("status"), each.get("reason"), each.get("message")) for each in (before, after)]
    if after.get("status") != "False" or told[0] == told[1]:
        return []
    message = f"Pods are no longer packed as asked: {after['message']}"
    return [Change(after["reason"], message, is_warning=True)]


def _phase_change(what: str, before: Mapping[str, Any] | None, after: Mapping[str, Any] | None) -> list[Change]:
    old, new = (before or {}).get("phase"), (after or {}).get("phase")
    keys = ("observedID", "startTime")
    is_same = old == new and all((before or {}).get(key) == (after or {}).get(key) for key in keys)
    if not new or is_same:
        return []
    phase = {"Pending": "Started", "InProgress": "Started", "Restarting": "Started"}.get(new, new)
    if (old, new) == ("Pending", "InProgress"):
        return []
    identifier = f" {(after or {})['observedID']}" if (after or {}).get("observedID") else ""
    words = {"RollingUpdate": "Rolling update of the workers", "Restart": "Restart"}
    return [Change(f"{what}{phase}", f"{words[what]}{identifier}: {phase.lower()}", is_warning=phase == "Failed")]


def _essence(status: Mapping[str, Any]) -> object:
    return (
        status.get("state"),
        status.get("observedGeneration"),
        sorted((each["type"], each["status"], each["reason"]) for each in status.get("conditions") or ()),
        (status.get("rollingUpdate") or {}).get("phase"),
        tuple((status.get("rollingUpdate") or {}).get("updatedComponents") or ()),
        (status.get("restart") or {}).get("phase"),
        (status.get("restart") or {}).get("observedID"),
        tuple((status.get("restart") or {}).get("inProgress") or ()),
    )


def _is_available(status: Mapping[str, Any]) -> bool:
    return condition_of(status, "Available").get("status") == "True"
