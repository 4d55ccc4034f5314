"""Least privilege, judged by the API server's own record of everything that the tests before this one made happen."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import pytest

from tests.cluster.audit import Call
from tests.cluster.local.cluster import LocalCluster
from tests.cluster.pods.order import ORDER
from tests.cluster.pods.release import Release, operator_user
from tests.cluster.port import Cluster

Right = tuple[str, str]  # (resource with its subresource, verb)

# Why a right is held that no test on pods uses. Tests of the API server alone exercise the features.
FEATURES = {
    "virtualservices",
    "destinationrules",
    "ingresses",
    "inferencepools",
    "persistentvolumeclaims",
    "podcliquesets",
    "podcliques",
    "podcliquescalinggroups",
    "podcliques/scale",
    "podcliquescalinggroups/scale",
    "podgroups",
    "resourceclaimtemplates",
    "configmaps",
    "dynamomodels",
    "dynamomodels/status",
}
# The API server lets nobody grant what he does not hold: graphs' discovery roles, planners' and pickers' bindings.
GRANTED_ON = {"dynamoworkermetadatas", "endpoints", "endpointslices", "pods", "clusterroles"}
# Asked for by the admission plugin that guards owner references, where a cluster runs it.
FINALIZERS = {f"dynamo{each}/finalizers" for each in ("graphdeployments", "componentdeployments", "models")}
_STRAY = "what its owner no longer asks for"
RARE: dict[Right, str] = {
    ("secrets", "create"): "the webhook's certificate on a first install, and key pairs of TensorRT-LLM groups",
    ("secrets", "patch"): "a certificate's renewal",
    ("customresourcedefinitions", "patch"): "an authority's renewal",
    ("leases", "create"): "a first install",
    ("deployments", "delete"): _STRAY,
    ("roles", "delete"): _STRAY,
    ("services", "delete"): _STRAY,
    ("leaderworkersets", "delete"): _STRAY,
    ("dynamographdeploymentscalingadapters", "delete"): _STRAY,
}


@pytest.fixture
def calls(cluster: Cluster, release: Release) -> list[Call]:
    if not isinstance(cluster, LocalCluster):
        pytest.skip("the audit log is the local cluster's")
    return [call for call in cluster.audit.calls(release.audited_from) if call.user == operator_user(release)]


def test_the_operator_was_never_denied_anything(calls: list[Call]) -> None:
    assert calls
    assert [call for call in calls if call.is_denied] == []


def test_every_right_is_used_or_has_a_reason(
    calls: list[Call], release: Release, request: pytest.FixtureRequest, record_property: Any
) -> None:
    granted, used = granted_rights(release), set(used_rights(calls))
    told = f"{len(granted)} held, {len(granted & used)} used; unused: {listed(granted - used)}"
    record_property("load", ("operator's rights", told))
    if {item.path.stem for item in request.session.items} < set(ORDER):
        pytest.skip("only some of the tests ran")
    assert {right for right in granted - used if not has_reason(right)} == set()


def has_reason(right: Right) -> bool:
    """A right to read one object is for the moment after a write conflict, when watches are behind."""
    resource, verb = right
    return resource in FEATURES | GRANTED_ON | FINALIZERS or verb == "get" or right in RARE


def used_rights(calls: Iterable[Call]) -> Iterable[Right]:
    """A server-side apply that makes an object is one call of the verb patch, and asks for both rights."""
    for call in calls:
        yield call.resource, call.verb
        if call.verb == "patch" and call.status == 201:
            yield call.resource, "create"


def granted_rights(release: Release) -> set[Right]:
    roles = [
        *release.cluster.get("clusterroles", "dynamo-operator", "dynamo-operator-webhooks")["items"],
        release.cluster.get("role", "dynamo-operator-own", "-n", release.namespace),
    ]
    return {
        (resource, verb)
        for role in roles
        for rule in role["rules"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def listed(rights: Iterable[Right]) -> str:
    verbs = defaultdict(list)
    for resource, verb in sorted(rights):
        verbs[resource].append(verb)
    return ", ".join(f"{resource} {'/'.join(each)}" for resource, each in verbs.items())
