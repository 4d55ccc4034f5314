"""What a graph and its component deployments report of themselves. Pure; called after a pass has applied its plan.

A status is true of the moment in which it is written: counts come from workloads whose controllers have seen the
present spec, and a graph is only called ready when no older generation is left and nothing failed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dynamo_operator.api import Component
from dynamo_operator.kube import Kind, Live
from dynamo_operator.kube.objects import DEPLOYMENT, LEADER_WORKER_SET
from dynamo_operator.plan.conditions import Status, Verdict, conditions
from dynamo_operator.plan.features import GPU_SHAPE, features
from dynamo_operator.plan.gangs import MEMBER_KINDS
from dynamo_operator.plan.restart import Restart
from dynamo_operator.plan.rollout import Roll
from dynamo_operator.plan.workloads import Lack, Workload

READY = "Ready"
NOT_READY = "some_resources_are_not_ready"
LONGEST_MESSAGE = 2000  # of the 32768 that the API allows; what does not fit helps nobody
_ROLLING = ("Pending", "InProgress")
_RESTARTING = ("Pending", "Restarting")
_REASONS = {Lack.UPDATING: "updating", Lack.PODS: "pods_not_ready", Lack.CAPACITY: "insufficient_capacity"}


@dataclass(frozen=True, slots=True)
class Standing:
    """One component as it stands: its present workload, None until it exists, and those of older generations.

    deployment: the name of its component deployment; empty where none runs it. trouble: what its pods tell.
    """

    component: Component
    deployment: str
    kind: Kind
    name: str
    workload: Workload | None
    old: tuple[Workload, ...] = ()
    runtime_namespace: str | None = None
    trouble: str = ""

    @property
    def lack(self) -> str:
        """Why it is not ready, in words; empty when it is."""
        found = self.workload
        if found is None:
            return self._because("not created yet")
        if self.old:
            return self._because(f"{found.serving}/{self.component.replicas} of the new generation ready")
        if found.desired != self.component.replicas:
            return self._because("being scaled")
        return self.lack_of_workload

    @property
    def lack_of_workload(self) -> str:
        """The same for its workload alone, whatever the graph wants of it."""
        found = self.workload
        if found is None:
            return self._because("not created yet")
        return "" if found.is_ready else self._because(f"{found.serving}/{found.desired} ready, {found.lack}")

    def _because(self, lack: str) -> str:
        trouble = (self.workload.trouble if self.workload else "") or self.trouble
        return f"{lack} ({trouble})" if trouble else lack


@dataclass(frozen=True, slots=True)
class Report:
    """All that a graph's status says beyond what it said before; `failures` and `waits` are one sentence each.

    waits: objects that have to go before they can be made anew. topology: of a gang that is packed somewhere.
    """

    standings: tuple[Standing, ...]
    rolls: tuple[Roll, ...]
    is_rolling: bool  # an older generation is left
    restart: Restart
    failures: tuple[str, ...]
    waits: tuple[str, ...] = ()
    topology: Verdict | None = None


def is_starting(report: Report) -> bool:
    """Whether all that a graph's next pass can do is to tell that its pods are ready."""
    is_restarting = (report.restart.status or {}).get("phase") in _RESTARTING
    has_to_act = report.failures or report.waits or report.is_rolling or is_restarting
    return not has_to_act and any(each.lack for each in report.standings)


def graph_status(root: Live, report: Report, now: str) -> Status:
    """The whole status of a graph; `now` is RFC 3339."""
    previous = root.document.get("status") or {}
    is_rolling = report.is_rolling or _is_settling(previous, report)
    verdict, state = _graph_verdict(report, is_rolling=is_rolling)
    verdicts = [verdict, *([report.topology] if report.topology else ())]
    status: Status = {
        "observedGeneration": root.generation,
        "state": state,
        "conditions": conditions(previous, verdicts, now, root.generation),
        "components": {each.component.name: component_status(each) for each in report.standings},
    }
    rolling = _rolling_update(previous.get("rollingUpdate") or {}, report, now, is_rolling=is_rolling)
    if rolling:
        status["rollingUpdate"] = rolling
    if report.restart.status is not None:
        status["restart"] = dict(report.restart.status)
    return status


def refused_status(root: Live, reason: str, message: str, now: str) -> Status:
    """The status of a graph or component deployment that cannot be understood: what runs is left as it is."""
    previous = root.document.get("status") or {}
    kind = READY if root.ref.kind.name == "DynamoGraphDeployment" else "Available"
    verdict = Verdict(kind, False, reason, _shortened(message))
    kept = {key: previous[key] for key in ("rollingUpdate", "restart") if key in previous}
    if "components" in previous:
        kept["components"] = {name: _observed(each) for name, each in previous["components"].items()}
    if "component" in previous:
        kept["component"] = _observed(previous["component"])
    status = {
        **kept,
        "observedGeneration": root.generation,
        "conditions": conditions(previous, [verdict], now, root.generation),
    }
    return {**status, "state": "failed"} if kind == READY else status


def component_deployment_status(live: Live, standing: Standing, failures: Sequence[str], now: str) -> Status:
    """The whole status of a component deployment."""
    lack = "; ".join(failures) or standing.lack_of_workload
    is_ready = not lack
    kind = {DEPLOYMENT: "Deployment", LEADER_WORKER_SET: "LeaderWorkerSet"}.get(standing.kind, standing.kind.name)
    message = _shortened(f"{kind} {standing.name} is {'ready' if is_ready else f'not ready: {lack}'}")
    verdicts = [
        Verdict("Available", is_ready, f"{kind}{'Ready' if is_ready else 'NotReady'}", message),
        Verdict("DynamoComponentReady", is_ready, "ComponentReady" if is_ready else "ComponentNotReady", message),
    ]
    previous = live.document.get("status") or {}
    return {
        "observedGeneration": live.generation,
        "conditions": conditions(previous, verdicts, now, live.generation),
        "component": component_status(standing),
    }


def component_status(standing: Standing) -> dict[str, Any]:
    """Counts over all generations; `updatedReplicas` are those of the present one."""
    present = (standing.workload,) if standing.workload else ()
    workloads = (*present, *standing.old)
    status: dict[str, Any] = {
        "componentKind": standing.kind.name,
        "componentNames": [standing.name, *(each.name for each in standing.old)],
        "replicas": sum(each.replicas for each in workloads),
        "updatedReplicas": sum(each.updated for each in present),
        **features(standing.component),
    }
    counts = {
        "readyReplicas": [each.ready for each in workloads],
        "availableReplicas": [each.available for each in workloads],
        "scheduledReplicas": [each.scheduled for each in workloads],
    }
    for field, values in counts.items():
        known = [value for value in values if value is not None]
        if known:
            status[field] = sum(known)
    if standing.runtime_namespace:
        status["runtimeNamespace"] = standing.runtime_namespace
    return status


def _observed(component: Mapping[str, Any]) -> dict[str, Any]:
    """Without the GPUs of an earlier spec, which planners would take for those of the generation reported."""
    return {key: value for key, value in component.items() if key not in GPU_SHAPE}


def _is_settling(previous: Mapping[str, Any], report: Report) -> bool:
    """The old generations are gone, but the new one does not have all its workers yet."""
    was_rolling = (previous.get("rollingUpdate") or {}).get("phase") in _ROLLING
    return was_rolling and any(each.lack for each in report.standings if each.component.is_worker)


def _graph_verdict(report: Report, *, is_rolling: bool) -> tuple[Verdict, str]:
    lacks = {each.component.name: each.lack for each in report.standings if each.lack}
    listed = "; ".join([*(f"{name}: {lack}" for name, lack in lacks.items()), *report.waits])
    if report.failures:
        message = _shortened("; ".join(report.failures))
        return Verdict(READY, False, "failed_to_reconcile_the_resources", message), "failed"
    if is_rolling:
        message = _shortened(f"Workers are being replaced: {listed or 'the old generation is draining'}")
        return Verdict(READY, False, "rolling_update_in_progress", message), "pending"
    if lacks or report.waits:
        return Verdict(READY, False, _reason(report), _shortened(f"Resources not ready: {listed}")), "pending"
    if (report.restart.status or {}).get("phase") in _RESTARTING:
        names = ", ".join((report.restart.status or {}).get("inProgress") or ())
        return Verdict(READY, False, "updating", f"Restarting: {names}"), "pending"
    return Verdict(READY, True, "all_resources_are_ready", "All resources are ready"), "successful"


def _reason(report: Report) -> str:
    """One reason where Grove's components lack the same, which tells capacity from readiness; else the general one."""
    lacking = [each for each in report.standings if each.lack]
    if not lacking or any(each.kind not in MEMBER_KINDS for each in lacking):
        return NOT_READY
    reasons = {_member_reason(each.workload) for each in lacking}
    return reasons.pop() if len(reasons) == 1 else "mixed_not_ready_reasons"


def _member_reason(workload: Workload | None) -> str:
    """A member that Grove's controller has not seen as it is now, says nothing of its pods."""
    if workload is None or workload.scheduled is None:
        return NOT_READY
    return _REASONS.get(workload.lack, "updating")


def _rolling_update(previous: Mapping[str, Any], report: Report, now: str, *, is_rolling: bool) -> Mapping[str, Any]:
    was_rolling = previous.get("phase") in _ROLLING
    if not is_rolling:
        if not was_rolling:
            return previous
        updated = [roll.component for roll in report.rolls if roll.desired or roll.new.name]
        return {**previous, "phase": "Completed", "endTime": now, "updatedComponents": updated}
    has_started = any(each.component.is_worker and each.workload and each.workload.desired for each in report.standings)
    return {
        "phase": "InProgress" if has_started or previous.get("phase") == "InProgress" else "Pending",
        "startTime": previous["startTime"] if was_rolling and previous.get("startTime") else now,
        "updatedComponents": [roll.component for roll in report.rolls if _is_updated(roll)],
    }


def _is_updated(roll: Roll) -> bool:
    return bool(roll.new.name) and roll.new.available >= roll.desired and not any(old.replicas for old in roll.old)


def _shortened(message: str) -> str:
    return message if len(message) <= LONGEST_MESSAGE else message[: LONGEST_MESSAGE - 1] + "…"
