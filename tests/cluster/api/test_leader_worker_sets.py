"""A real API server with LeaderWorkerSet's CRD, and none of its webhooks, takes what we render and keeps it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from dynamo_operator.render import render
from tests.cluster.api.kept import as_applied, lost
from tests.cluster.crds import Neighbour, neighbour_crds
from tests.cluster.errors import ClusterError
from tests.cluster.local.api_only import ApiCluster
from tests.cluster.settings import Settings
from tests.unit.operator_plane.render.factories import a_context, a_graph
from tests.unit.operator_plane.render.multinode import a_set, annotated, several_nodes

Document = dict[str, Any]

TP16 = ("--tensor-parallel-size", "16")
GRAPHS = {
    "spread": several_nodes("vllm", *TP16, nodes=3, replicas=2),
    "ray": several_nodes("vllm", *TP16, template=annotated(vllm_distributed_executor_backend="ray")),
    "ranks": several_nodes("vllm", "--data-parallel-size", "16"),
    "elastic": several_nodes("vllm", "--enable-elastic-ep"),
    "sglang": several_nodes("sglang", main={"image": "engine:1.6.0"}),
    "mpi": several_nodes("trtllm"),
    "plain": several_nodes(None, gpus=None),
    "standby": several_nodes("vllm", *TP16, experimental={"gpuMemoryService": {}, "failover": {}}),
}


@pytest.fixture(scope="module")
def lws_cluster(api_cluster: ApiCluster, cluster_settings: Settings) -> Iterator[ApiCluster]:
    """The API server, with LeaderWorkerSet's kinds beside ours until these tests end."""
    crds = neighbour_crds(cluster_settings.cache, Neighbour.LEADERWORKERSET)
    api_cluster.install_crds(crds)
    yield api_cluster
    api_cluster.kubectl("delete", "crd", *(crd["metadata"]["name"] for crd in crds), timeout_s=300)


def test_every_object_is_taken_kept_and_not_changed_by_applying_it_again(
    lws_cluster: ApiCluster, api_namespace: str
) -> None:
    context = a_context(namespace=api_namespace, has_leader_worker_sets=True)
    sent = [
        as_applied(document, f"{name}-{position}")
        for name, component in GRAPHS.items()
        for position, document in enumerate(render(a_graph(component), context))
    ]
    lws_cluster.apply(*sent, namespace=api_namespace)
    first = _kept_sets(lws_cluster, api_namespace)
    sets = [each for each in sent if each["kind"] == "LeaderWorkerSet"]
    assert len(sets) == len(first) == len(GRAPHS)
    changed = [lost(each["spec"], first[each["metadata"]["name"]]["spec"], each["metadata"]["name"]) for each in sets]
    assert [line for lines in changed for line in lines] == []
    lws_cluster.apply(*sets, namespace=api_namespace)
    assert _versions(_kept_sets(lws_cluster, api_namespace)) == _versions(first)


def test_without_its_webhook_a_set_with_less_is_refused(lws_cluster: ApiCluster, api_namespace: str) -> None:
    """As upstream's is: why we write out what the webhook would add."""
    sent = json.loads(json.dumps(as_applied(a_set(GRAPHS["sglang"]), "less")))
    sent["spec"]["rolloutStrategy"]["type"] = ""
    with pytest.raises(ClusterError, match=r"spec\.rolloutStrategy\.type: Unsupported value"):
        lws_cluster.apply(sent, namespace=api_namespace)


def _kept_sets(cluster: ApiCluster, namespace: str) -> dict[str, Document]:
    return {each["metadata"]["name"]: each for each in cluster.get("leaderworkerset", "-n", namespace)["items"]}


def _versions(sets: dict[str, Document]) -> dict[str, str]:
    return {name: each["metadata"]["resourceVersion"] for name, each in sets.items()}
