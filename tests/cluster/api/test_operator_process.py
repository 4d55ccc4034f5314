"""The operator's process on a real API server: it begins, leads, hands over and ends."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from dynamo_operator.handlers.queue import CONCURRENCY
from tests.cluster.errors import ClusterError
from tests.cluster.local.api_only import ApiCluster
from tests.cluster.operator_process import OperatorProcess, running_operator
from tests.contract.kube import a_graph

DEADLINE_S = 60.0
TAKEOVER_S = 20.0
Start = Callable[..., OperatorProcess]


@pytest.fixture
def start(api_cluster: ApiCluster, api_namespace: str, tmp_path: Path) -> Iterator[Start]:
    with ExitStack() as started:

        def run(**settings: Any) -> OperatorProcess:
            one = running_operator(api_cluster.kubeconfig, tmp_path, namespace=api_namespace, settings=settings)
            return started.enter_context(one)

        yield run


def until(holds: Callable[[], bool], operator: OperatorProcess, deadline_s: float = DEADLINE_S) -> float:
    """Seconds until it holds."""
    began = time.monotonic()
    while not holds():
        assert time.monotonic() - began < deadline_s, operator.said()[-3000:]
        time.sleep(0.1)
    return time.monotonic() - began


def restricted(namespace: str) -> dict[str, Any]:
    return {"leaderElection": {"enabled": True}, "namespace": {"restricted": namespace}}


def holder(cluster: ApiCluster, namespace: str, name: str) -> str:
    try:
        return str(cluster.get("lease", name, "-n", namespace)["spec"].get("holderIdentity", ""))
    except ClusterError:
        return ""


def a_frontend_graph(namespace: str, name: str = "g") -> dict[str, Any]:
    graph = a_graph(namespace)
    graph["metadata"]["name"] = name
    main = {"name": "main", "image": "dynamo/frontend:1.5.0"}
    graph["spec"]["components"][0]["podTemplate"] = {"spec": {"containers": [main]}}
    return graph


def deployments(cluster: ApiCluster, namespace: str) -> int:
    return len(cluster.get("deployments", "-n", namespace)["items"])


def test_a_graph_gets_its_objects_and_the_lease_is_given_back(
    start: Start, api_cluster: ApiCluster, api_namespace: str
) -> None:
    operator = start(**restricted(api_namespace), checkpoint={"enabled": True})
    until(operator.is_ready, operator)
    until(operator.is_leading, operator)
    assert "checkpoints are not served" in operator.said()
    api_cluster.apply(a_frontend_graph(api_namespace))
    until(lambda: deployments(api_cluster, api_namespace) == 1, operator)
    assert holder(api_cluster, api_namespace, "dynamo-operator-namespace-scope").startswith("dynamo-operator/")
    api_cluster.kubectl("delete", "deployments", "--all", "-n", api_namespace)
    until(lambda: deployments(api_cluster, api_namespace) == 1, operator)
    assert operator.stop() == 0, operator.said()[-3000:]
    assert holder(api_cluster, api_namespace, "dynamo-operator") == ""
    assert holder(api_cluster, api_namespace, "dynamo-operator-namespace-scope") == ""


@pytest.mark.timeout(180, func_only=True)
def test_many_new_graphs_get_their_objects_before_pods_of_any_are_started(
    start: Start, api_cluster: ApiCluster, api_namespace: str
) -> None:
    """Only those whose pass is among the last to begin find nobody waiting."""
    names = [f"graph-{number:02}" for number in range(3 * CONCURRENCY)]
    api_cluster.apply(*(a_frontend_graph(api_namespace, name) for name in names))
    mark = api_cluster.audit.mark()
    operator = start(**restricted(api_namespace))
    until(lambda: deployments(api_cluster, api_namespace) == len(names), operator)

    calls = [each for each in api_cluster.audit.calls(mark) if (each.verb, each.status) == ("patch", 201)]
    made = [each.resource for each in calls if each.namespace == api_namespace]
    assert made.count("deployments") == len(names)
    assert made[: made.index("deployments")].count("dynamocomponentdeployments") >= 2 * CONCURRENCY


@pytest.mark.timeout(180, func_only=True)
def test_a_frozen_leader_is_replaced_in_time_and_wakes_deposed(
    start: Start, api_cluster: ApiCluster, api_namespace: str
) -> None:
    first = start(**restricted(api_namespace))
    until(first.is_leading, first)
    second = start(**restricted(api_namespace))
    until(second.is_ready, second)
    assert not second.is_leading()
    before = holder(api_cluster, api_namespace, "dynamo-operator")
    first.signal(signal.SIGSTOP)
    assert until(second.is_leading, second, 2 * TAKEOVER_S) <= TAKEOVER_S
    after = holder(api_cluster, api_namespace, "dynamo-operator")
    first.signal(signal.SIGCONT)
    until(lambda: not first.is_leading(), first)
    assert before != after == holder(api_cluster, api_namespace, "dynamo-operator")
    assert second.stop() == 0
    until(first.is_leading, first, TAKEOVER_S)


def test_a_bad_configuration_is_named_and_ends_the_start(start: Start) -> None:
    operator = start(servr=1)
    assert operator.process.wait(DEADLINE_S) == 2
    said = operator.said()
    assert "servr: unknown key" in said
    assert "Traceback" not in said


def test_a_claimed_namespace_is_left_alone_until_it_is_released(
    start: Start, api_cluster: ApiCluster, api_namespace: str
) -> None:
    lease = {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": "dynamo-operator-namespace-scope", "namespace": api_namespace},
        "spec": {"holderIdentity": "another/1.0", "leaseDurationSeconds": 600},
    }
    api_cluster.apply(lease)
    everywhere = start()
    until(everywhere.is_ready, everywhere)
    graph = a_frontend_graph(api_namespace)
    with api_cluster.namespace() as other:
        api_cluster.apply(graph)
        api_cluster.apply({**graph, "metadata": {"name": "g", "namespace": other}})
        until(lambda: deployments(api_cluster, other) == 1, everywhere)
        assert deployments(api_cluster, api_namespace) == 0
        api_cluster.kubectl("delete", "lease", "dynamo-operator-namespace-scope", "-n", api_namespace)
        until(lambda: deployments(api_cluster, api_namespace) == 1, everywhere)
    assert everywhere.stop() == 0
