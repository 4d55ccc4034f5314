"""Whose labels and annotations win on the Grove pathway, and which of them its Services and Ingresses get."""

from __future__ import annotations

import json
from typing import Any

import pytest

from dynamo_operator.api import Graph, parse_graph
from tests.unit.operator_plane.render.factories import (
    a_clique,
    a_component,
    a_graph,
    a_graph_document,
    rendered,
)

Document = dict[str, Any]


def _from_v1alpha1(component: Document, service: Document, **spec: Any) -> Graph:
    """A graph whose component was written as a v1alpha1 service that said more than v1beta1 can."""
    payload = {"version": 1, "spec": {"services": {component["name"]: service}}}
    return parse_graph(a_graph_document(component, annotations_={"nvidia.com/dgd-spec": json.dumps(payload)}, **spec))


def _said(graph: Graph, key: str) -> list[Document]:
    """The labels or annotations of the first clique, and of its Service."""
    (service,) = rendered(graph, "Service", has_grove=True)
    return [a_clique(graph)[key], service["metadata"][key]]


@pytest.mark.parametrize("key", ["labels", "annotations"])
def test_a_service_of_v1alpha1_wins_over_its_graph_and_the_pod_over_both(key: str) -> None:
    pod = {"metadata": {key: {"pod": "pod", "both": "pod"}}}
    service = {key: {"service": "service", "pod": "service", "both": "service"}}
    graph = _from_v1alpha1(
        a_component(template=pod), service, **{key: {"graph": "graph", "service": "graph", "both": "graph"}}
    )
    for found in _said(graph, key):
        assert {name: found[name] for name in ("graph", "service", "pod", "both")} == {
            "graph": "graph",
            "service": "service",
            "pod": "pod",
            "both": "pod",
        }


def test_a_service_of_v1alpha1_cannot_break_the_labels_that_selectors_need() -> None:
    name = "nvidia.com/dynamo-component"
    graph = _from_v1alpha1(a_component(), {"labels": {name: "x"}}, labels={name: "y"})
    assert a_clique(graph)["labels"][name] == "Worker"


def test_what_pods_inherit_of_their_graphs_metadata_stays_off_services() -> None:
    mode = "nvidia.com/dynamo-kube-discovery-mode"
    graph = a_graph(annotations_={mode: "container"}, annotations={"note": "a"})
    clique, service = _said(graph, "annotations")
    assert clique[mode] == "container"
    assert service == {"note": "a"}


def test_a_services_labels_name_the_generation_and_no_class() -> None:
    components = (a_component(), a_component("Picker", "epp", main={"image": "epp:1.5.0"}))
    service, _ = rendered(a_graph(*components), "Service", has_grove=True)
    assert "nvidia.com/dynamo-worker-hash" in service["metadata"]["labels"]
    assert "nvidia.com/dynamo-component-class" not in service["metadata"]["labels"]


def test_only_frontends_have_an_ingress() -> None:
    ingress = {"ingress": {"enabled": True, "host": "h"}}
    assert rendered(_from_v1alpha1(a_component("F", "frontend"), ingress), "Ingress", has_grove=True)
    assert not rendered(_from_v1alpha1(a_component(), ingress), "Ingress", has_grove=True)


@pytest.mark.parametrize(
    ("switch", "value", "label"),
    [
        pytest.param("nvidia.com/enable-metrics", "false", "nvidia.com/metrics-enabled", id="metrics"),
        pytest.param("nvidia.com/dynamo-discovery-backend", "etcd", "nvidia.com/dynamo-discovery-enabled", id="found"),
    ],
)
def test_what_one_component_switches_off_is_off_for_it_alone(switch: str, value: str, label: str) -> None:
    graph = a_graph(a_component("A"), a_component("B", template={"metadata": {"annotations": {switch: value}}}))
    assert [label in a_clique(graph, each)["labels"] for each in (0, 1)] == [True, False]
