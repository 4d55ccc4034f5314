"""The API-only cluster does what tests rely on: our kinds, the controllers, the count of calls, and a clean end."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.cluster.commands import wait_until
from tests.cluster.crds import Neighbour, neighbour_crds
from tests.cluster.errors import ClusterError
from tests.cluster.local.api_only import ApiCluster, running_api_cluster
from tests.cluster.local.processes import Processes
from tests.cluster.settings import Settings

GRAPH = {
    "apiVersion": "nvidia.com/v1beta1",
    "kind": "DynamoGraphDeployment",
    "metadata": {"name": "g"},
    "spec": {"components": [{"name": "Frontend", "type": "frontend"}]},
}


def test_our_stored_version_needs_no_webhook(api_cluster: ApiCluster, api_namespace: str) -> None:
    api_cluster.apply(GRAPH, namespace=api_namespace)
    stored = api_cluster.get("dgd", "g", "-n", api_namespace)
    assert stored["spec"]["components"][0]["name"] == "Frontend"


def test_a_refusal_says_what_the_server_said(api_cluster: ApiCluster, api_namespace: str) -> None:
    bad = {**GRAPH, "spec": {"components": [{"name": "Frontend", "type": "nonsense"}]}}
    with pytest.raises(ClusterError, match=r"spec\.components\[0\]\.type: Unsupported value"):
        api_cluster.apply(bad, namespace=api_namespace)


def test_owned_objects_go_with_their_owner(api_cluster: ApiCluster, api_namespace: str) -> None:
    api_cluster.apply(GRAPH, namespace=api_namespace)
    uid = api_cluster.get("dgd", "g", "-n", api_namespace)["metadata"]["uid"]
    owner = {"apiVersion": "nvidia.com/v1beta1", "kind": "DynamoGraphDeployment", "name": "g", "uid": uid}
    owned = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "child", "ownerReferences": [owner]}}
    api_cluster.apply(owned, namespace=api_namespace)
    api_cluster.kubectl("delete", "dgd", "g", "-n", api_namespace)
    api_cluster.kubectl("wait", "--for=delete", "configmap/child", "-n", api_namespace, "--timeout=60s")


def test_calls_are_counted_by_user_and_agent(api_cluster: ApiCluster, api_namespace: str) -> None:
    mark = api_cluster.audit.mark()
    for _ in range(3):
        api_cluster.kubectl(
            "get", "configmaps", "-n", api_namespace, "--as", "somebody", "--as-group", "system:masters"
        )
    assert api_cluster.audit.calls_by_verb("somebody", since=mark)["list", "configmaps"] == 3
    assert api_cluster.calls_by_user(since=mark)["somebody"] >= 3


def test_two_run_side_by_side_and_leave_nothing(api_cluster: ApiCluster, cluster_settings: Settings) -> None:
    with running_api_cluster(cluster_settings.cache, controllers=False) as second:
        assert second.url != api_cluster.url
        second.kubectl("create", "namespace", "only-here")
        assert "only-here" not in api_cluster.kubectl("get", "namespaces", "-o", "name")
        table = Processes(second.folder, die_with_us=False)
        pids = [pid for name in table.names() if (pid := table.pid(name))]
        assert len(pids) == 2
    assert not second.folder.exists()
    wait_until(lambda: not any(_exists(pid) for pid in pids), "its processes are gone", deadline_s=10)


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_fake_nodes_take_hundreds_of_pods(api_programs: Path) -> None:
    """On an API server of its own: their scheduler would take the pods of other tests."""
    labels = {"app": "many"}
    pod = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "main", "image": "nothing"}]}}
    spec = {"replicas": 200, "selector": {"matchLabels": labels}, "template": pod}
    many = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "many"}, "spec": spec}
    with running_api_cluster(api_programs) as cluster, cluster.namespace() as namespace:
        cluster.add_fake_nodes(2)
        cluster.apply(many, namespace=namespace)
        cluster.kubectl("rollout", "status", "deployment/many", "-n", namespace, "--timeout=90s")


def test_neighbours_kinds_can_be_installed(api_programs: Path) -> None:
    """On an API server of its own: an operator of other tests would see them."""
    expected = {
        Neighbour.LEADERWORKERSET: "leaderworkersets.leaderworkerset.x-k8s.io",
        Neighbour.GROVE: "podcliquesets.grove.io",
        Neighbour.INFERENCE_EXTENSION: "inferencepools.inference.networking.k8s.io",
        Neighbour.VOLCANO: "podgroups.scheduling.volcano.sh",
    }
    with running_api_cluster(api_programs, controllers=False) as cluster:
        for neighbour in Neighbour:
            cluster.install_crds(neighbour_crds(api_programs, neighbour))
        plurals = cluster.kubectl("api-resources", "--cached=false", "-o", "name").split()
    assert set(expected.values()) <= set(plurals)
