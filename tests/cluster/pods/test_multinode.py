"""A worker that spans two nodes, by LeaderWorkerSet's real controller: it answers, and survives its leader's death."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from tests.cluster.commands import wait_until
from tests.cluster.pods.graphs import RUNTIME_NAME, Graph, name_of
from tests.cluster.pods.load import Ask, stream_once
from tests.cluster.port import Cluster

TOKENS = 20
_RECOVERY_DEADLINE_S = 90.0
_INDEX = "leaderworkerset.sigs.k8s.io/worker-index"


@pytest.fixture
def graph(cluster: Cluster, groups: None, graph_namespace: str) -> Graph:
    return Graph(cluster, graph_namespace, "wide")


def test_a_group_of_two_nodes_answers_and_survives_its_leaders_death(graph: Graph) -> None:
    graph.apply(a_wide_graph(graph.name))
    graph.wait_ready()
    url = graph.url()
    members = graph.wait_pods("worker", 2)
    leader = next(pod for pod in members if pod["metadata"]["labels"][_INDEX] == "0")
    assert workers_known(url) == [name_of(leader)], "only the leader serves"
    assert asyncio.run(failure_of_a_chat(url)) == ""

    graph.kubectl("delete", "pod", name_of(leader), "--wait=false")
    before = {pod["metadata"]["uid"] for pod in members}
    wait_until(
        lambda: before.isdisjoint(pod["metadata"]["uid"] for pod in graph.pods("worker")),
        "the whole group is made anew",
        deadline_s=_RECOVERY_DEADLINE_S,
        explain=lambda: graph.kubectl("get", "pods,lws,dgd"),
    )
    graph.wait_pods("worker", 2)
    graph.wait_ready()
    wait_until(lambda: workers_known(url) == [name_of(leader)], "the frontend knows the new leader", deadline_s=30)
    assert asyncio.run(failure_of_a_chat(url)) == ""


async def failure_of_a_chat(url: str) -> str:
    async with httpx.AsyncClient(trust_env=False, timeout=30) as client:
        return (await stream_once(client, Ask(url, tokens=TOKENS), "Tell me of bridges.")).failure(TOKENS)


def workers_known(url: str) -> list[str]:
    instances = httpx.get(f"{url}/health", trust_env=False, timeout=5).json()["instances"]
    return [instance["name"] for instance in instances]


def a_wide_graph(name: str) -> dict[str, Any]:
    main = {
        "name": "main",
        "image": RUNTIME_NAME,
        "command": ["python3", "-m", "dynamo.mocker"],
        "args": ["--model-name", "mock-model"],
    }
    frontend = {"containers": [{"name": "main", "image": RUNTIME_NAME}]}
    components = [
        {"name": "Frontend", "type": "frontend", "podTemplate": {"spec": frontend}},
        {
            "name": "worker",
            "type": "worker",
            "multinode": {"nodeCount": 2},
            "podTemplate": {"spec": {"containers": [main]}},
        },
    ]
    return {
        "apiVersion": "nvidia.com/v1beta1",
        "kind": "DynamoGraphDeployment",
        "metadata": {"name": name},
        "spec": {"components": components},
    }
