"""Least privilege, judged by the API server's own record of everything that the tests before this one made happen."""

from __future__ import annotations

from typing import Any

import pytest

from tests.cluster.audit import Call
from tests.cluster.local.cluster import LocalCluster
from tests.cluster.pods.release import Release, operator_user
from tests.cluster.port import Cluster

Right = tuple[str, str]  # (resource with its subresource, verb)


@pytest.fixture
def calls(cluster: Cluster, release: Release) -> list[Call]:
    if not isinstance(cluster, LocalCluster):
        pytest.skip("the audit log is the local cluster's")
    return [call for call in cluster.audit.calls(release.audited_from) if call.user == operator_user(release)]


def test_the_operator_was_never_forbidden_anything(calls: list[Call]) -> None:
    assert calls
    assert [call for call in calls if call.status in (401, 403)] == []


def test_no_right_of_the_operator_goes_unused(calls: list[Call], release: Release, record_property: Any) -> None:
    granted = granted_rights(release)
    used = {(call.resource, call.verb) for call in calls}
    unused = sorted(granted - used)
    lines = [f"{len(granted)} rights, {len(granted & used)} used; unused: "]
    by_resource: dict[str, list[str]] = {}
    for resource, verb in unused:
        by_resource.setdefault(resource, []).append(verb)
    lines += [f"{resource} {'/'.join(verbs)}; " for resource, verbs in by_resource.items()]
    record_property("load", ("operator's rights", "".join(lines)))


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
