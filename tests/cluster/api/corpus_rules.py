"""Which differences between live objects are meant, beyond those of rendering; docs/compatibility.md explains each."""

from __future__ import annotations

import json
from typing import Any

from tests.unit.operator_plane.convert.manifests import without_empty
from tests.unit.operator_plane.render.differences import ABSENT, Difference
from tests.unit.operator_plane.render.rules import RULES as RENDERING
from tests.unit.operator_plane.render.rules import Rule, same_plugins

Document = dict[str, Any]


def _only_ours(difference: Difference) -> bool:
    return bool(difference.theirs == ABSENT)


def _both(difference: Difference) -> bool:
    return ABSENT not in (difference.theirs, difference.ours)


def _same_payload(difference: Difference) -> bool:
    theirs, ours = (_unsayable(json.loads(str(side))["spec"]) for side in (difference.theirs, difference.ours))
    return bool(theirs == ours)


def _unsayable(spec: Document) -> Document:
    """What the stored version has no word for. The rest of a payload says how the author spelt what it has one for."""
    services = {
        name: without_empty({key: value for key, value in service.items() if key in _UNSAYABLE})
        for name, service in spec.get("services", {}).items()
    }
    claims = [{key: value for key, value in claim.items() if value != "0"} for claim in spec.get("pvcs", [])]
    return {"services": {name: kept for name, kept in services.items() if kept}, "pvcs": claims}


def _of_a_set(difference: Difference) -> bool:
    """Said of a component that is a LeaderWorkerSet, on which upstream stopped."""
    ours = difference.ours
    return _only_ours(difference) and isinstance(ours, dict) and ours["componentKind"] == "LeaderWorkerSet"


def _stopped(difference: Difference) -> bool:
    return (difference.theirs, difference.ours) in (
        ("Reconciling", "LeaderWorkerSetNotReady"),
        ("Reconciling", "ComponentNotReady"),
        ("Unknown", "False"),
    )


_UNSAYABLE = ("annotations", "labels", "dynamoNamespace", "ingress", "autoscaling")
_GRAPH = "DynamoGraphDeployment"
_PART = "DynamoComponentDeployment"
_STATUS = r"/status/component(s/[^/]+)?"

LIVE = (
    Rule("R3", _GRAPH, r"/metadata/finalizers", lambda each: each.theirs == ["nvidia.com/finalizer"]),
    Rule(
        "R10", f"{_GRAPH}|{_PART}", rf"{_STATUS}/runtimeNamespace", lambda each: str(each.theirs).startswith("ignored")
    ),
    Rule("R12", _GRAPH, r"/spec/components\[[^]]+\]/eppConfig/config/plugins", same_plugins),
    Rule("R15", f"{_GRAPH}|{_PART}", _STATUS, _of_a_set),
    Rule("R15", _PART, "/status/conditions/(Available|DynamoComponentReady)/(reason|status)", _stopped),
    Rule("R15", _PART, "/status/observedGeneration", _only_ours),
    Rule("C2", _GRAPH, r"/metadata/annotations/nvidia\.com/dgd-spec", _same_payload),
    Rule("L1", f"{_GRAPH}|{_PART}", r"/status/conditions/[^/]+/message", _both),
    Rule("L2", _PART, r"/status/conditions/[^/]+/observedGeneration", _only_ours),
    Rule(
        "L3",
        f"{_GRAPH}|{_PART}",
        rf"{_STATUS}/(gpusPerEngine|gpusPerReplica|servedModelName|runtimeComponentName)",
        _only_ours,
    ),
    Rule("L4", _GRAPH, rf"{_STATUS}/runtimeNamespace", _only_ours),
    Rule("L5", _GRAPH, r"/metadata/annotations/nvidia\.com/current-worker-hash", _only_ours),
    Rule(
        "L6",
        f"{_GRAPH}|{_PART}",
        r"/spec/(components\[[^]]+\]/)?podTemplate/spec/containers\[[^]]+\]/ports\[[^]]+\]/protocol",
        lambda each: (each.theirs, each.ours) == ("TCP", ABSENT),
    ),
    Rule(
        "L7",
        f"{_GRAPH}|{_PART}",
        r"/spec/(components\[[^]]+\]/)?podTemplate/spec/containers\[[^]]+\]/env\[[^]]+\]/value",
        lambda each: (each.theirs, each.ours) == (ABSENT, ""),
    ),
    Rule("L8", "Service", "/metadata/ownerReferences", lambda each: each.name.startswith("dynamo-model-")),
)
# Statuses are compared here; rendering has none.
RULES = (*(rule for rule in RENDERING if rule.id != "R4"), *LIVE)
