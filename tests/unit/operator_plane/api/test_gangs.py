"""What a graph says to a scheduler of gangs, read from v1beta1 and, converted, from v1alpha1."""

from __future__ import annotations

import re
from typing import Any

import pytest

from dynamo_operator.api import Graph, SpecError, parse_graph
from dynamo_operator.convert import to_v1beta1

Document = dict[str, Any]

OVERRIDE = {"apiVersion": "grove.io/v1alpha1", "target": "PodCliqueTemplateSpec", "value": {"a": {"b": [1]}}}


def a_graph(component: Document, **spec: Any) -> Graph:
    """A graph of one component."""
    entry = {"name": "Worker", "type": "worker", **component}
    return parse_graph(
        {
            "apiVersion": "nvidia.com/v1beta1",
            "kind": "DynamoGraphDeployment",
            "metadata": {"name": "g"},
            "spec": {"components": [entry], **spec},
        }
    )


def test_a_graph_that_says_nothing_has_no_wishes() -> None:
    graph = a_graph({})
    assert (graph.gang.priority_class_name, graph.gang.topology_name, graph.gang.override) == (None, None, None)
    gang = graph.components[0].gang
    assert (gang.min_available, gang.pack_domain, gang.override, gang.is_scaling_group) == (None, None, None, False)
    assert gang.role_overrides == {}


def test_every_wish_is_read() -> None:
    graph = a_graph(
        {
            "minAvailable": 2,
            "topologyConstraint": {"packDomain": "rack"},
            "providerOverride": OVERRIDE,
            "multinode": {"leader": {"providerOverride": OVERRIDE}, "worker": {}},
            "experimental": {"grove": {"forceScalingGroup": True}},
        },
        priorityClassName="high",
        topologyConstraint={"clusterTopologyName": "t", "packDomain": "zone"},
        providerOverride=OVERRIDE,
    )
    assert (graph.gang.priority_class_name, graph.gang.topology_name, graph.gang.pack_domain) == ("high", "t", "zone")
    assert graph.gang.override is not None
    gang = graph.components[0].gang
    assert (gang.min_available, gang.pack_domain, gang.is_scaling_group) == (2, "rack", True)
    assert gang.override == gang.role_overrides["leader"] == graph.gang.override
    assert list(gang.role_overrides) == ["leader"]


def test_an_override_may_leave_its_target_to_its_place() -> None:
    override = a_graph({"providerOverride": {**OVERRIDE, "target": None}}).components[0].gang.override
    assert override is not None
    assert override.target == ""


def test_an_override_cannot_be_changed() -> None:
    override = a_graph({"providerOverride": OVERRIDE}).components[0].gang.override
    assert override is not None
    with pytest.raises(TypeError):
        override.patch["a"] = 1  # type: ignore[index]


@pytest.mark.parametrize(
    ("component", "spec", "found"),
    [
        pytest.param({"minAvailable": 0}, {}, "spec.components[0].minAvailable: found 0", id="no-pods"),
        pytest.param({"minAvailable": "1"}, {}, "spec.components[0].minAvailable: found '1'", id="text"),
        pytest.param(
            {"topologyConstraint": {}}, {}, "spec.components[0].topologyConstraint.packDomain", id="component-domain"
        ),
        pytest.param({}, {"topologyConstraint": {}}, "spec.topologyConstraint.clusterTopologyName", id="topology"),
        pytest.param({}, {"topologyConstraint": "t"}, "spec.topologyConstraint: found 't'", id="topology-text"),
        pytest.param({}, {"priorityClassName": 1}, "spec.priorityClassName: found 1", id="priority"),
        pytest.param({"providerOverride": {}}, {}, "spec.components[0].providerOverride.apiVersion", id="no-version"),
        pytest.param(
            {"multinode": {"worker": {"providerOverride": {**OVERRIDE, "value": 1}}}},
            {},
            "spec.components[0].multinode.worker.providerOverride.value: found 1",
            id="role-patch",
        ),
        pytest.param(
            {"experimental": {"grove": {"forceScalingGroup": "yes"}}},
            {},
            "spec.components[0].experimental.grove.forceScalingGroup: found 'yes'",
            id="flag",
        ),
    ],
)
def test_a_wish_that_means_nothing_is_refused_by_its_path(component: Document, spec: Document, found: str) -> None:
    with pytest.raises(SpecError, match=re.escape(found)):
        a_graph(component, **spec)


def test_wishes_of_v1alpha1_are_the_same() -> None:
    service = {"componentType": "worker", "minAvailable": 2, "topologyConstraint": {"packDomain": "rack"}}
    document = {
        "apiVersion": "nvidia.com/v1alpha1",
        "kind": "DynamoGraphDeployment",
        "metadata": {"name": "g"},
        "spec": {
            "services": {"Worker": service},
            "priorityClassName": "high",
            "topologyConstraint": {"topologyProfile": "t", "packDomain": "zone"},
        },
    }
    graph = parse_graph(to_v1beta1(document))
    assert (graph.gang.priority_class_name, graph.gang.topology_name, graph.gang.pack_domain) == ("high", "t", "zone")
    assert (graph.components[0].gang.min_available, graph.components[0].gang.pack_domain) == (2, "rack")
