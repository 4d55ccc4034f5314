"""Two operators on one cluster: the one of a namespace serves it, and the cluster-wide one leaves it alone."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.cluster.audit import Call
from tests.cluster.commands import step, wait_until
from tests.cluster.local.cluster import LocalCluster
from tests.cluster.pods.graphs import Graph, everything_in, wait_gone
from tests.cluster.pods.release import Release, operator_user
from tests.cluster.port import Cluster
from tests.cluster.settings import REPOSITORY

_OP = "dynamo-operator"
_TAKEOVER_DEADLINE_S = 60.0


@pytest.fixture
def own_release(release: Release, runtime: str, pod_namespace: str) -> Iterator[Release]:
    """An operator that serves one namespace, from within it, beside the cluster-wide one."""
    own = Release(release.cluster, release.helm_program, name="own", namespace=pod_namespace)
    with step("helm install --wait, restricted"):
        own.install(f"{_OP}.namespaceRestriction.enabled=true", f"{_OP}.upgradeCRD=false")
    yield own
    own.uninstall()


def test_a_namespace_with_an_operator_of_its_own_is_left_to_it(
    cluster: Cluster, release: Release, own_release: Release
) -> None:
    if not isinstance(cluster, LocalCluster):
        pytest.skip("who did it is read from the local cluster's audit log")
    namespace = own_release.namespace
    mark, before = cluster.audit.mark(), everything_in(cluster, namespace)
    graph = Graph(cluster, namespace, "agg")
    graph.apply_file(REPOSITORY / "examples" / "agg.yaml")
    graph.wait_ready()

    calls = cluster.audit.calls(mark)
    assert writes(calls, operator_user(own_release)), "its own operator served it"
    assert [call for call in writes(calls, operator_user(release)) if call.namespace == namespace] == []
    assert {call.namespace for call in writes(calls, operator_user(own_release))} == {namespace}
    both = (operator_user(own_release), operator_user(release))
    assert [call for call in calls if call.user in both and call.is_denied] == []

    own_release.uninstall()
    graph.kubectl("delete", "service", "agg-frontend")
    wait_until(
        lambda: "service/agg-frontend" in everything_in(cluster, namespace),
        "the cluster-wide operator takes over",
        deadline_s=_TAKEOVER_DEADLINE_S,
    )
    graph.delete()
    wait_gone(cluster, namespace, before)


def writes(calls: list[Call], user: str) -> list[Call]:
    return [call for call in calls if call.user == user and call.is_write]
