"""A planner on a real cluster: the example's workers follow the load through their scaling adapter."""

from __future__ import annotations

from typing import Any

import pytest

from tests.cluster.commands import step, wait_until
from tests.cluster.pods.graphs import Graph
from tests.cluster.pods.load import Ask, running_load
from tests.cluster.port import Cluster
from tests.cluster.settings import REPOSITORY

LOW, HIGH = 2, 6  # Streams at a time; a worker of the example runs four, and room is kept for chance.
ENOUGH_FOR_LOW = 2  # Workers; sooner or later the low load has so many, and never more.
_GROW_DEADLINE_S = 60.0
_SHRINK_DEADLINE_S = 120.0


@pytest.fixture
def graph(cluster: Cluster, graph_namespace: str) -> Graph:
    return Graph(cluster, graph_namespace, "planner")


@pytest.mark.timeout(300, func_only=True)
def test_a_load_that_triples_adds_workers_and_its_end_shrinks_them(graph: Graph, record_property: Any) -> None:
    graph.apply_file(REPOSITORY / "examples" / "planner.yaml")
    graph.wait_ready()
    ask = Ask(graph.url(), tokens=150)

    with running_load(ask, LOW) as low:
        wait_until(lambda: len(low.streams) >= 8 * LOW, "the planner sees a steady load", deadline_s=60)
        usual = desired(graph)
        assert usual <= ENOUGH_FOR_LOW
        with running_load(ask, HIGH - LOW) as high, step("growing"):
            grew_s = until(graph, lambda: desired(graph) > ENOUGH_FOR_LOW, "workers are added", _GROW_DEADLINE_S)
            until(graph, lambda: len(graph.ready_pods("worker")) > ENOUGH_FOR_LOW, "they serve", _GROW_DEADLINE_S)
            most = desired(graph)
        with step("shrinking"):
            shrank_s = until(graph, lambda: desired(graph) < most, "workers are taken away", _SHRINK_DEADLINE_S)
            wait_until(lambda: len(graph.pods("worker")) < most, "their pods end", deadline_s=60)

    record_property(
        "load",
        ("planner", f"{usual} workers, {most} {grew_s:.0f} s after the rise, fewer {shrank_s:.0f} s after its end"),
    )
    assert low.failures() == high.failures() == [], f"{low.summary()}; {high.summary()}"
    until(graph, lambda: worker_of(graph)["replicas"] == desired(graph), "graph and adapter agree", 10)


def desired(graph: Graph) -> int:
    return int(graph.get("dgdsa", "planner-worker")["spec"]["replicas"])


def worker_of(graph: Graph) -> dict[str, Any]:
    components = graph.document()["spec"]["components"]
    return next(each for each in components if each["name"] == "worker")


def until(graph: Graph, claim: Any, what: str, deadline_s: float) -> float:
    return wait_until(claim, what, deadline_s=deadline_s, explain=lambda: story(graph))


def story(graph: Graph) -> str:
    """What the planner and the cluster say of themselves."""
    logs = graph.kubectl("logs", "deployment/planner-planner", "--tail=20")
    return f"{graph.kubectl('get', 'dgd,dgdsa,pods')}\n{graph.kubectl('get', 'events')}\n{logs}"
