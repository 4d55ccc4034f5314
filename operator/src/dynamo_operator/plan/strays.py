"""Objects that an owner has and no longer wants. Pure; called by what decides for graphs and component deployments."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from dynamo_operator.kube import Live, Ref
from dynamo_operator.plan.intents import Intent
from dynamo_operator.plan.kinds import PRUNED_KINDS
from dynamo_operator.plan.workloads import is_workload, read_workload


def strays(wanted: Iterable[Intent], children: Mapping[Ref, Live]) -> tuple[Live, ...]:
    """Children that may go.

    A workload stays until those that its owner has instead serve: upstream's operator made a LeaderWorkerSet for each
    replica, ours makes the first of them as large as all.
    """
    wanted = tuple(wanted)
    refs = {intent.ref for intent in wanted}
    unwanted = (live for ref, live in children.items() if ref not in refs and ref.kind in PRUNED_KINDS)
    return tuple(live for live in unwanted if not (live.is_terminating or _is_needed(live, wanted, children)))


def _is_needed(stray: Live, wanted: Iterable[Intent], children: Mapping[Ref, Live]) -> bool:
    if not is_workload(stray.ref.kind):
        return False
    owners = {owner["name"] for owner in stray.document["metadata"].get("ownerReferences") or ()}
    instead = (each for each in wanted if is_workload(each.ref.kind) and each.owner and each.owner.name in owners)
    return not all(_serves(each, children.get(each.ref)) for each in instead)


def _serves(intent: Intent, live: Live | None) -> bool:
    if live is None:
        return False
    workload = read_workload(live)
    return workload.is_ready and workload.desired == intent.document["spec"].get("replicas", 1)
