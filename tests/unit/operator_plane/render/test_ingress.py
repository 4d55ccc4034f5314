"""Ingresses that an operator gives frontends without being asked, and those that v1alpha1 asks for."""

from __future__ import annotations

from typing import Any

import pytest

from dynamo_operator.api import Graph, parse_graph
from dynamo_operator.convert import to_v1beta1
from dynamo_operator.render import IngressDefaults
from tests.unit.operator_plane.render.factories import Document, a_component, a_graph, rendered

FRONT = a_component("Frontend", "frontend")


@pytest.mark.parametrize(
    ("component", "usual", "hosts"),
    [
        pytest.param(FRONT, {"class_name": "nginx", "host_suffix": "example.com"}, ["g.example.com"], id="frontend"),
        pytest.param(FRONT, {"tls_secret_name": "tls"}, [], id="no-class"),
        pytest.param(a_component(), {"class_name": "nginx"}, [], id="worker"),
    ],
)
def test_every_graphs_frontend_gets_the_operators_ingress(
    component: Document, usual: dict[str, Any], hosts: list[str]
) -> None:
    found = rendered(a_graph(component), "Ingress", ingress=IngressDefaults(**usual))
    assert [rule["host"] for each in found for rule in each["spec"]["rules"]] == hosts


def test_a_gateway_of_the_operators_is_every_frontends() -> None:
    (found,) = rendered(a_graph(FRONT), "VirtualService", ingress=IngressDefaults(virtual_service_gateway="gate"))
    assert (found["spec"]["gateways"], found["spec"]["hosts"]) == (["gate"], ["g.local"])


@pytest.mark.parametrize(
    ("ingress", "hosts"),
    [
        pytest.param({"enabled": False}, [], id="switched-off"),
        pytest.param({"enabled": True, "host": "chat"}, ["chat.local"], id="of-its-own"),
    ],
)
def test_what_a_v1alpha1_frontend_says_of_its_ingress_wins(ingress: Document, hosts: list[str]) -> None:
    found = rendered(_with_ingress(ingress), "Ingress", ingress=IngressDefaults(class_name="nginx"))
    assert [rule["host"] for each in found for rule in each["spec"]["rules"]] == hosts


def test_an_ingress_needs_no_class() -> None:
    (found,) = rendered(_with_ingress({"enabled": True, "host": "chat"}), "Ingress")
    assert "ingressClassName" not in found["spec"]
    gate = {"enabled": True, "host": "chat", "useVirtualService": True, "virtualServiceGateway": "gate"}
    (found,) = rendered(_with_ingress(gate), "VirtualService")
    assert found["spec"]["gateways"] == ["gate"]


def _with_ingress(ingress: Document) -> Graph:
    image = {"mainContainer": {"image": "f:1.5.0"}}
    service = {"componentType": "frontend", "ingress": ingress, "extraPodSpec": image}
    document = {
        "apiVersion": "nvidia.com/v1alpha1",
        "kind": "DynamoGraphDeployment",
        "metadata": {"name": "g"},
        "spec": {"services": {"Frontend": service}},
    }
    return parse_graph(to_v1beta1(document))
