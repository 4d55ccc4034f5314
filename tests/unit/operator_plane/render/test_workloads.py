"""Which live object runs each component, against what rendering makes of the same graph."""

from __future__ import annotations

from typing import Any

import pytest

from dynamo_operator.render import render, worker_hash
from dynamo_operator.render.workloads import Backing, component_workloads
from tests.shared import shared
from tests.unit.operator_plane.render.corpus import CORPUS, Case, graph_of, load, with_hash
from tests.unit.operator_plane.render.factories import a_component, a_context, a_graph


def _said(backing: Backing) -> tuple[str, tuple[str, ...], int]:
    return backing.kind.name, backing.names, backing.replicas


def test_a_component_runs_as_the_deployment_that_is_rendered_for_it() -> None:
    graph = a_graph(a_component("Frontend", "frontend", replicas=2), a_component(replicas=0))
    found = component_workloads(graph, a_context())
    rendered = [each for each in render(graph, a_context()) if each["kind"] == "Deployment"]
    assert [_said(each) for each in found.values()] == [
        ("Deployment", (each["metadata"]["name"],), each["spec"]["replicas"]) for each in rendered
    ]
    assert list(found) == ["Frontend", "Worker"]


def test_a_component_of_several_nodes_runs_as_a_leader_worker_set_without_grove() -> None:
    (backing,) = component_workloads(a_graph(a_component(replicas=2, multinode={})), a_context()).values()
    kind, (name,), replicas = _said(backing)
    assert (kind, replicas) == ("LeaderWorkerSet", 2)
    assert name.startswith("g-worker-")
    assert name.endswith("-0")


def test_on_grove_components_are_cliques_and_those_of_several_nodes_scaling_groups() -> None:
    forced = {"grove": {"forceScalingGroup": True}}
    graph = a_graph(
        a_component("Frontend", "frontend", replicas=2),
        a_component("Decode", "decode", multinode={"nodeCount": 3}, replicas=4),
        a_component("Forced", experimental=forced),
    )
    found = component_workloads(graph, a_context(has_grove=True))
    assert {name: _said(each) for name, each in found.items()} == {
        "Frontend": ("PodClique", ("g-0-frontend",), 2),
        "Decode": ("PodCliqueScalingGroup", ("g-0-decode",), 4),
        "Forced": ("PodCliqueScalingGroup", ("g-0-forced",), 1),
    }


def test_a_shortened_set_gives_its_children_the_short_name() -> None:
    graph = a_graph(name="g" * 50)
    (backing,) = component_workloads(graph, a_context(has_grove=True, namespace="n")).values()
    (document,) = (each for each in render(graph, a_context(has_grove=True, namespace="n")) if "Set" in each["kind"])
    assert backing.names == (f"{document['metadata']['name']}-0-worker",)


@pytest.mark.parametrize("pathway", ["component", "grove"])
def test_upstream_reports_the_same_objects(pathway: str) -> None:
    compared = 0
    for oracle in sorted(shared(f"corpus/rendered/{pathway}").rglob("*.objects.yaml")):
        case = Case(str(oracle.relative_to(CORPUS / "rendered" / pathway)).removesuffix(".objects.yaml"), oracle)
        if "\nkind: DynamoGraphDeployment\n" not in case.source.read_text():
            continue
        graph = graph_of(case)
        ours = component_workloads(graph, a_context(has_grove=pathway == "grove"))
        for name, (kind, names) in _reported(with_hash(load(oracle), worker_hash(graph))).items():
            assert (ours[name].kind.name, list(ours[name].names)) == (kind, names)
            compared += 1
    assert compared > 5


def _reported(oracle: list[dict[str, Any]]) -> dict[str, tuple[str, list[str]]]:
    """Kind and names by component, from the status that upstream wrote."""
    (graph,) = (each for each in oracle if each["kind"] == "DynamoGraphDeployment")
    status = graph["status"].get("components") or {}
    return {name: (each["componentKind"], each["componentNames"]) for name, each in status.items()}
