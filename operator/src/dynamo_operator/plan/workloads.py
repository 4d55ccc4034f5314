"""What runs pods, by kind: how to read its replicas and readiness, and how to set replicas and restarts. Pure.

Called by the rollout, the restart and the status. Nothing else in this package names a kind of workload.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from dynamo_operator.kube import Document, Kind, Live
from dynamo_operator.kube.objects import (
    DEPLOYMENT,
    LEADER_WORKER_SET,
    POD_CLIQUE,
    POD_CLIQUE_SCALING_GROUP,
    POD_CLIQUE_SET,
)
from dynamo_operator.plan.troubles import creation_trouble
from dynamo_operator.render import names

RESTARTED_AT = "nvidia.com/restartAt"


class Lack(StrEnum):
    """Why a workload is not ready."""

    NOTHING = ""
    UPDATING = "updating"
    PODS = "pods not ready"
    CAPACITY = "insufficient capacity"
    STUCK = "progress deadline exceeded"


@dataclass(frozen=True, slots=True)
class Workload:
    """Replica counts of one workload; those that its kind does not report are None.

    available: pods that serve, counted only as far as the controller has seen the present spec.
    trouble: why its pods cannot be made, where its kind says so.
    """

    kind: Kind
    name: str
    desired: int
    replicas: int
    updated: int
    ready: int | None
    available: int | None
    scheduled: int | None
    lack: Lack
    is_drained: bool
    trouble: str = ""

    @property
    def is_ready(self) -> bool:
        return self.lack is Lack.NOTHING

    @property
    def serving(self) -> int:
        """Replicas that can take requests now."""
        counts = [count for count in (self.available, self.ready) if count is not None]
        return min([self.desired, *counts[:1]])


def is_workload(kind: Kind) -> bool:
    """True for kinds that run one component's pods."""
    return kind in _READERS


def read_workload(live: Live) -> Workload:
    """The counts of a live workload; its kind must be one of a workload."""
    return _READERS[live.ref.kind](live)


def with_replicas(document: Document, replicas: int) -> Document:
    """A copy with another replica count."""
    return {**document, "spec": {**document["spec"], "replicas": replicas}}


def with_pods_of(document: Document, live: Live) -> Document:
    """A copy with the pods that `live` has: a generation that leaves is not restarted for a newer way to render it."""
    key = "leaderWorkerTemplate" if live.ref.kind == LEADER_WORKER_SET else "template"
    pods = (live.applied.get("spec") or {}).get(key) or live.document["spec"][key]
    return {**document, "spec": {**document["spec"], key: pods}}


def restart_ids(live: Live) -> Mapping[str, str]:
    """The restart that each component's pods were made by: component label -> id. Unrestarted ones are absent."""
    found = {}
    for template in _templates(live.ref.kind.name, live.document):
        component = (template.get("labels") or {}).get(names.COMPONENT)
        identifier = (template.get("annotations") or {}).get(RESTARTED_AT)
        if component and identifier:
            found[component] = identifier
    return found


def with_restart(document: Document, ids: Mapping[str, str]) -> Document:
    """A copy whose pod templates carry the restart id of their component."""
    if not ids:
        return document
    copied: Document = _copy(document)
    for metadata in _templates(document["kind"], copied):
        component = (metadata.get("labels") or {}).get(names.COMPONENT)
        if component and component in ids:
            metadata["annotations"] = {**(metadata.get("annotations") or {}), RESTARTED_AT: ids[component]}
    return copied


def _templates(kind: str, document: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Metadata of the pod templates; a clique of Grove carries its labels itself. Missing metadata is made."""
    spec = document.get("spec") or {}
    match kind:
        case DEPLOYMENT.name:
            owners = [spec.get("template")]
        case LEADER_WORKER_SET.name:
            template = spec.get("leaderWorkerTemplate") or {}
            owners = [template.get("leaderTemplate"), template.get("workerTemplate")]
        case POD_CLIQUE_SET.name:
            return list((spec.get("template") or {}).get("cliques") or ())
        case _:
            owners = []
    return [owner.get("metadata") or {} for owner in owners if owner]


def _copy(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _copy(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_copy(inner) for inner in value]
    return value


def _deployment(live: Live) -> Workload:
    status = _parts(live)[0]
    is_stuck = _condition(status, "Progressing").get("reason") == "ProgressDeadlineExceeded"
    return _replicated(
        live,
        ready=_count(status, "readyReplicas"),
        available=_count(status, "availableReplicas"),
        is_stuck=is_stuck,
        trouble=creation_trouble(status),
    )


def _leader_worker_set(live: Live) -> Workload:
    return _replicated(live, ready=_count(_parts(live)[0], "readyReplicas"), available=None)


def _replicated(
    live: Live, *, ready: int, available: int | None, is_stuck: bool = False, trouble: str = ""
) -> Workload:
    """What has the status that Deployments have; where it counts no available replicas, the ready ones serve."""
    status, desired, is_seen = _parts(live)
    replicas, updated = _count(status, "replicas"), _count(status, "updatedReplicas")
    serving = ready if available is None else available
    if desired == 0:
        lack = Lack.NOTHING if is_seen else Lack.UPDATING
    elif is_seen and is_stuck:
        lack = Lack.STUCK
    elif not is_seen or updated < desired or replicas != desired:
        lack = Lack.UPDATING
    elif serving < desired or _condition(status, "Available").get("status") != "True":
        lack = Lack.PODS
    else:
        lack = Lack.NOTHING
    return Workload(
        kind=live.ref.kind,
        name=live.ref.name,
        desired=desired,
        replicas=replicas,
        updated=updated if is_seen else 0,
        ready=ready,
        available=available,
        scheduled=None,
        lack=lack,
        is_drained=is_seen and desired == 0 and replicas == 0,
        trouble=trouble,
    )


def _grove(live: Live) -> Workload:
    """A PodClique, ready by its ready pods, or a scaling group, ready by its available replicas."""
    status, desired, is_seen = _parts(live)
    is_group = live.ref.kind == POD_CLIQUE_SCALING_GROUP
    replicas, updated, scheduled = (_count(status, key) for key in ("replicas", "updatedReplicas", "scheduledReplicas"))
    served = _count(status, "availableReplicas" if is_group else "readyReplicas")
    if not is_seen:
        lack = Lack.UPDATING
    elif desired == 0 or replicas == updated == served == desired:
        lack = Lack.NOTHING
    elif _lacks_room(status, scheduled, desired):
        lack = Lack.CAPACITY
    else:
        lack = Lack.PODS if replicas == updated == desired else Lack.UPDATING
    return Workload(
        kind=live.ref.kind,
        name=live.ref.name,
        desired=desired,
        replicas=replicas,
        updated=updated if is_seen else 0,
        ready=None if is_group else served,
        available=served if is_group else None,
        scheduled=scheduled if is_seen else None,
        lack=lack,
        is_drained=False,
    )


def _lacks_room(status: Mapping[str, Any], scheduled: int, desired: int) -> bool:
    """Pods that are held back or have no node: Grove says so in conditions, of which one keeps a name of old."""
    found = [_condition(status, kind) for kind in ("PodCliqueScheduled", "MinAvailableBreached")]
    is_said = any(
        each.get("status") == "False" and str(each.get("reason")).startswith("InsufficientScheduled") for each in found
    )
    return is_said or _count(status, "scheduleGatedReplicas") > 0 or 0 < scheduled < desired


def _parts(live: Live) -> tuple[Mapping[str, Any], int, bool]:
    """Status, desired replicas, and whether the status speaks of the present spec."""
    status = live.document.get("status") or {}
    replicas = (live.document.get("spec") or {}).get("replicas")
    observed = status.get("observedGeneration")
    # LeaderWorkerSets of older releases report no generation; their status is taken as it is once there is one.
    is_trusted = observed is None and live.ref.kind == LEADER_WORKER_SET
    is_seen = bool(status) if is_trusted else (observed or 0) >= live.generation
    return status, 1 if replicas is None else int(replicas), is_seen


def _count(status: Mapping[str, Any], key: str) -> int:
    return int(status.get(key) or 0)


def _condition(status: Mapping[str, Any], kind: str) -> Mapping[str, Any]:
    return next((each for each in status.get("conditions") or () if each.get("type") == kind), {})


_READERS: Mapping[Kind, Callable[[Live], Workload]] = {
    DEPLOYMENT: _deployment,
    LEADER_WORKER_SET: _leader_worker_set,
    POD_CLIQUE: _grove,
    POD_CLIQUE_SCALING_GROUP: _grove,
}
