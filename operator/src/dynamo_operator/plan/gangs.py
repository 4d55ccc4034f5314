"""Graphs that run as one gang on Grove: what their set keeps, and how its members are scaled and judged. Pure.

Grove's controller makes one member of the set's template for each component: a PodClique, or a PodCliqueScalingGroup.
The template's replicas are those that a member begins with; from then on each is scaled by itself. A new template
reaches a member only when that controller hands it on, and until then the member's own status speaks of the old one: so
members are judged together with their set. Called by the graph's plan and report, and by the preview of a change.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from dynamo_operator.kube import Document, Live, Ref
from dynamo_operator.kube.objects import POD_CLIQUE, POD_CLIQUE_SCALING_GROUP
from dynamo_operator.plan.conditions import Verdict, condition_of
from dynamo_operator.plan.workloads import Lack, Workload, read_workload

COHERENT = "Coherent"
TOPOLOGY = "TopologyLevelsAvailable"
MEMBER_KINDS = (POD_CLIQUE, POD_CLIQUE_SCALING_GROUP)


@dataclass(frozen=True, slots=True)
class Scaling:
    """One member of a set, and the replicas to set through its scale subresource."""

    ref: Ref
    replicas: int


def kept(document: Document, existing: Mapping[str, Any]) -> Document:
    """A rendered set with what the existing one keeps: the replicas its members began with, and their order.

    Writing other replicas would change the set and scale nothing; another order would be a new template to Grove, and
    replace all pods.
    """
    template, before = document["spec"]["template"], existing["spec"]["template"]
    groups, groups_before = (each.get("podCliqueScalingGroups") or [] for each in (template, before))
    grouped = {name for group in groups for name in group["cliqueNames"]}
    began = {each["name"]: each["spec"].get("replicas") for each in before["cliques"] if each["name"] not in grouped}
    cliques = [_clique_with(each, began.get(each["name"])) for each in template["cliques"]]
    changed = {**template, "cliques": _in_order(cliques, before["cliques"])}
    if groups:
        began = {each["name"]: each.get("replicas") for each in groups_before}
        groups = [_group_with(each, began.get(each["name"])) for each in groups]
        changed["podCliqueScalingGroups"] = _in_order(groups, groups_before)
    return {**document, "spec": {**document["spec"], "template": changed}}


def scalings(gang: Live, wanted: Iterable[tuple[Live, int]]) -> tuple[Scaling, ...]:
    """Of the members in `wanted`, each with its replicas, those that have others."""
    if gang.is_terminating or _is_locked(gang):
        return ()
    return tuple(
        Scaling(member.ref, replicas)
        for member, replicas in wanted
        if member.controller_uid == gang.uid
        and not member.is_terminating
        and member.document["spec"].get("replicas") != replicas
    )


def workload_of(live: Live, gang: Live | None) -> Workload:
    """The counts of a workload; a gang's member is ready, and its replicas updated, only by its set's template."""
    workload = read_workload(live)
    if live.ref.kind not in MEMBER_KINDS or _is_settled(live, gang):
        return workload
    lack = Lack.UPDATING if workload.is_ready else workload.lack
    # Grove calls a change seen only when it is carried out; on the way there the counts are of the new template.
    is_counted = gang is not None and _is_updating(gang) and _has_template(live, gang)
    updated = workload.updated if is_counted else 0
    return replace(workload, updated=updated, lack=lack, trouble=gang_trouble(gang))


def is_replaced(member: Live, gang: Live | None) -> bool:
    """All replicas of a member are made of its set's present template, ready or not."""
    found = read_workload(member)
    is_whole = found.desired == found.replicas == found.updated
    return _is_settled(member, gang) and is_whole and not _is_updating(member)


def gang_trouble(gang: Live | None) -> str:
    """What Grove's controller last failed at, in its own words; empty where nothing is known."""
    errors = ((gang.document.get("status") or {}).get("lastErrors") or ()) if gang else ()
    return f"Grove: {errors[-1]['description']}" if errors and errors[-1].get("description") else ""


def topology_verdict(gang: Live | None) -> Verdict | None:
    """Whether the cluster has the levels that the set's pods are packed into; None where none are asked for."""
    if gang is None or not _is_packed(gang):
        return None
    found = condition_of(gang.document.get("status") or {}, "TopologyLevelsUnavailable")
    if not found:
        return Verdict(TOPOLOGY, None, "TopologyConditionPending", "Grove has not looked for the topology's levels yet")
    if found.get("status") != "True":
        return Verdict(TOPOLOGY, True, "AllTopologyLevelsAvailable", "The cluster has all topology levels asked for")
    is_unknown = found.get("reason") == "ClusterTopologyNotFound"
    reason = "TopologyDefinitionNotFound" if is_unknown else "TopologyLevelsUnavailable"
    return Verdict(TOPOLOGY, False, reason, str(found.get("message") or ""))


def _is_packed(gang: Live) -> bool:
    template = gang.document["spec"]["template"]
    places = (template, *template["cliques"], *(template.get("podCliqueScalingGroups") or ()))
    return any(each.get("topologyConstraint") for each in places)


def _is_settled(member: Live, gang: Live | None) -> bool:
    return gang is not None and _is_seen(gang) and _has_template(member, gang)


def _has_template(member: Live, gang: Live) -> bool:
    """The member has the template that its set's controller works on, or is on its way to it.

    A change of annotations alone, as a restart is, does not raise a member's generation: only the hash tells. From the
    beginning of an update on, a member's updated replicas are those of the new template.
    """
    status = member.document.get("status") or {}
    hashes = status.get("currentPodCliqueSetGenerationHash"), _progress(member).get("podCliqueSetGenerationHash")
    current = (gang.document.get("status") or {}).get("currentGenerationHash")
    return current is None or current in hashes


def _progress(live: Live) -> Mapping[str, Any]:
    """Of the last update, of a set or of a member; empty before the first."""
    return (live.document.get("status") or {}).get("updateProgress") or {}


def _is_updating(live: Live) -> bool:
    progress = _progress(live)
    return bool(progress) and not progress.get("updateEndedAt")


def _is_seen(gang: Live) -> bool:
    observed = (gang.document.get("status") or {}).get("observedGeneration")
    return observed is not None and int(observed) >= gang.generation


def _is_locked(gang: Live) -> bool:
    """Grove refuses to scale members during a coherent update, which begins once it has seen the set's change."""
    if (gang.document["spec"].get("updateStrategy") or {}).get("type") != COHERENT:
        return False
    return not _is_seen(gang) or _is_updating(gang)


def _clique_with(clique: Document, replicas: int | None) -> Document:
    return clique if replicas is None else {**clique, "spec": {**clique["spec"], "replicas": replicas}}


def _group_with(group: Document, replicas: int | None) -> Document:
    return group if replicas is None else {**group, "replicas": replicas}


def _in_order(items: Sequence[Document], before: Sequence[Mapping[str, Any]]) -> list[Document]:
    """Those that were there before in their order, then the others in theirs."""
    places = {each["name"]: place for place, each in enumerate(before)}
    return sorted(items, key=lambda each: places.get(each["name"], len(places)))
