"""From what a pass applied to what it reports, and the generation that other clients are told. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from dynamo_operator.kube import Live, Ref
from dynamo_operator.kube.objects import COMPONENT_DEPLOYMENT, DEPLOYMENT, LEADER_WORKER_SET
from dynamo_operator.plan.conditions import Change
from dynamo_operator.plan.gangs import gang_trouble, is_replaced, topology_verdict, workload_of
from dynamo_operator.plan.graph import Facts, Plan, is_drained
from dynamo_operator.plan.rollout import serving_hash
from dynamo_operator.plan.status import Report, Standing
from dynamo_operator.plan.survey import Survey, live_backing
from dynamo_operator.plan.workloads import read_workload
from dynamo_operator.render import component_deployments, names, worker_hash

CURRENT_HASHES = ("nvidia.com/current-worker-hash", "nvidia.com/current-worker-hash-v2")


def report_of(seen: Survey, plan: Plan, facts: Facts, lives: Mapping[Ref, Live], failures: Sequence[str]) -> Report:
    """`lives` are the objects as the pass left them; the others are as the survey saw them."""
    after = {**seen.children, **lives}
    gang = after.get(seen.gang.ref) if seen.gang else None
    kept_namespaces = _kept_namespaces(seen, gang)
    serving = serving_hash(plan.rolls)
    left = [part for part in seen.old if part.workload is not None and not is_drained(part, facts)]
    standings = []
    for deployment in component_deployments(seen.graph, seen.context):
        name = deployment.component.name
        backing = seen.backings[name]
        hash8 = deployment.labels.get(names.WORKER_HASH)
        live = after.get(Ref(backing.kind, seen.root.ref.namespace, backing.names[0]))
        base = deployment.labels[names.NAMESPACE]
        old = (after.get(part.workload.ref) for part in left if part.workload and part.component == name)
        is_deployed = Ref(COMPONENT_DEPLOYMENT, seen.root.ref.namespace, deployment.name) in after
        standings.append(
            Standing(
                component=deployment.component,
                deployment=deployment.name if is_deployed else "",
                kind=backing.kind,
                name=backing.names[0],
                workload=workload_of(live, gang) if live is not None else None,
                old=tuple(read_workload(each) for each in old if each is not None),
                runtime_namespace=kept_namespaces.get(name) or (f"{base}-{serving or hash8}" if hash8 else base),
                trouble=gang_trouble(gang),
            )
        )
    topology = topology_verdict(gang)
    return Report(tuple(standings), plan.rolls, bool(left), plan.restart, tuple(failures), topology=topology)


def told(report: Report, troubles: Mapping[str, str], waits: Sequence[str]) -> Report:
    """The report with what pods tell of their components, and with what has to go first."""
    standings = (replace(each, trouble=troubles.get(each.component.name) or each.trouble) for each in report.standings)
    return replace(report, standings=tuple(standings), waits=tuple(waits))


def generation_annotations(seen: Survey) -> list[dict[str, Any]]:
    """JSON Patch that names the workers' generation on the graph, for clients that look there; empty when it does."""
    hash8 = worker_hash(seen.graph)
    if seen.is_rolling or hash8 is None:
        return []
    present = seen.root.document["metadata"].get("annotations")
    missing = [key for key in CURRENT_HASHES if (present or {}).get(key) != hash8]
    if not missing:
        return []
    # The version test keeps the patch from a graph that was edited or replaced meanwhile.
    guard = {"op": "test", "path": "/metadata/resourceVersion", "value": seen.root.resource_version}
    if not present:
        return [guard, {"op": "add", "path": "/metadata/annotations", "value": dict.fromkeys(missing, hash8)}]
    return [
        guard,
        *({"op": "add", "path": f"/metadata/annotations/{_escaped(key)}", "value": hash8} for key in missing),
    ]


def unmanaged_rollout(seen: Survey) -> tuple[Change, ...]:
    """Said when a new generation begins whose replacement is not, or not wholly, under our limits."""
    kinds = {seen.backings[each.name].kind for each in seen.graph.components if each.is_worker} - {DEPLOYMENT}
    if not kinds:
        return ()
    if LEADER_WORKER_SET in kinds:
        phase = ((seen.root.document.get("status") or {}).get("rollingUpdate") or {}).get("phase")
        has_begun = seen.is_rolling and phase not in ("Pending", "InProgress")
        how = "LeaderWorkerSets end their highest-numbered groups first, ready or not"
    else:
        noted = seen.root.annotations.get(CURRENT_HASHES[-1])
        has_begun = noted is not None and noted != worker_hash(seen.graph)
        how = "Grove replaces them by its own update strategy"
    message = f"Workers change, and their availability meanwhile is not guaranteed: {how}"
    return (Change("RollingUpdateNotSupported", message, is_warning=True),) if has_begun else ()


def _kept_namespaces(seen: Survey, gang: Live | None) -> dict[str, str]:
    """On Grove, where workers still serve, by component: they move together, once all workers are replaced."""
    if gang is None:
        return {}
    workers = [each.name for each in seen.graph.components if each.is_worker]
    members = [live_backing(seen, name) for name in workers]
    if all(member is not None and is_replaced(member, gang) for member in members):
        return {}
    said = (seen.root.document.get("status") or {}).get("components") or {}
    return {name: said[name]["runtimeNamespace"] for name in workers if (said.get(name) or {}).get("runtimeNamespace")}


def _escaped(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1")
