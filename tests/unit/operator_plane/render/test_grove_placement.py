"""Where Grove's pods go: gang schedulers and their queues, topology, and the overrides that users lay over it."""

from __future__ import annotations

import re
from typing import Any

import pytest

from dynamo_operator.render import RenderError
from tests.unit.operator_plane.render.factories import a_clique, a_component, a_graph, a_set, gang_template

Document = dict[str, Any]

TOPOLOGY = {"clusterTopologyName": "t"}
RACK = {"packDomain": "rack"}


def test_kai_gets_its_pods_and_their_queue() -> None:
    named = {"nvidia.com/kai-scheduler-queue": " fast "}
    for chosen, queue in ((named, "fast"), ({}, "dynamo")):
        clique = a_clique(a_graph(annotations_=chosen), gang_scheduler="kai-scheduler")
        assert clique["spec"]["podSpec"]["schedulerName"] == "kai-scheduler"
        assert clique["labels"]["kai.scheduler/queue"] == queue


def test_volcano_gets_its_pods_and_reads_its_queue_from_the_set() -> None:
    graph = a_graph(annotations_={"nvidia.com/volcano-queue": "fast"})
    assert a_clique(graph, gang_scheduler="volcano")["spec"]["podSpec"]["schedulerName"] == "volcano"
    assert "kai.scheduler/queue" not in a_clique(graph, gang_scheduler="volcano")["labels"]
    annotations = a_set(graph, gang_scheduler="volcano")["metadata"]["annotations"]
    assert annotations == {"scheduling.grove.io/volcano-queue": "fast"}
    assert "annotations" not in a_set(graph, gang_scheduler="kai-scheduler")["metadata"]


def test_pods_that_name_the_gang_scheduler_get_their_queue_too() -> None:
    graph = a_graph(a_component(pod={"schedulerName": "kai-scheduler"}))
    assert a_clique(graph, gang_scheduler="kai-scheduler")["labels"]["kai.scheduler/queue"] == "dynamo"


def test_pods_that_name_a_scheduler_keep_it() -> None:
    clique = a_clique(a_graph(a_component(pod={"schedulerName": "mine"})), gang_scheduler="kai-scheduler")
    assert clique["spec"]["podSpec"]["schedulerName"] == "mine"
    assert "kai.scheduler/queue" not in clique["labels"]


def test_a_packed_graph_names_its_topology_once() -> None:
    graph = a_graph(a_component(topologyConstraint=RACK), topologyConstraint={**TOPOLOGY, "packDomain": "zone"})
    template = gang_template(graph)
    assert template["topologyConstraint"] == {"topologyName": "t", "pack": {"required": "zone"}}
    assert template["cliques"][0]["topologyConstraint"] == {"pack": {"required": "rack"}}


def test_a_packed_component_of_an_unpacked_graph_names_the_topology_itself() -> None:
    grove = {"grove": {"forceScalingGroup": True}}
    grouped = a_component("Grouped", topologyConstraint=RACK, experimental=grove)
    template = gang_template(a_graph(a_component(topologyConstraint=RACK), grouped, topologyConstraint=TOPOLOGY))
    assert "topologyConstraint" not in template
    packed = {"topologyName": "t", "pack": {"required": "rack"}}
    assert template["cliques"][0]["topologyConstraint"] == packed
    assert "topologyConstraint" not in template["cliques"][1]
    assert template["podCliqueScalingGroups"][0]["topologyConstraint"] == packed


def an_override(target: str, value: Document) -> Document:
    """A providerOverride for Grove."""
    return {"apiVersion": "grove.io/v1alpha1", "target": target, "value": value}


PREFERRED = {"topologyConstraint": {"pack": {"preferred": "rack"}}}


def test_overrides_are_laid_over_the_placement_of_sets_cliques_and_groups() -> None:
    grove = {"grove": {"forceScalingGroup": True}}
    graph = a_graph(
        a_component(providerOverride=an_override("PodCliqueTemplateSpec", PREFERRED), topologyConstraint=RACK),
        a_component(
            "Grouped", providerOverride=an_override("PodCliqueScalingGroupConfig", PREFERRED), experimental=grove
        ),
        providerOverride=an_override(
            "PodCliqueSet", {"spec": {"template": {"topologyConstraint": {"topologyName": "u", "pack": None}}}}
        ),
        topologyConstraint={**TOPOLOGY, "packDomain": "zone"},
    )
    template = gang_template(graph)
    assert template["topologyConstraint"] == {"topologyName": "u"}
    assert template["cliques"][0]["topologyConstraint"] == {"pack": {"required": "rack", "preferred": "rack"}}
    assert template["podCliqueScalingGroups"][0]["topologyConstraint"] == PREFERRED["topologyConstraint"]
    assert len(template["cliques"]) == 2


def test_an_override_without_a_target_is_for_the_object_of_its_place() -> None:
    override = {"apiVersion": "grove.io/v1alpha1", "value": PREFERRED}
    assert a_clique(a_graph(a_component(providerOverride=override)))["topologyConstraint"] == {
        "pack": {"preferred": "rack"}
    }


@pytest.mark.parametrize(
    ("override", "found"),
    [
        pytest.param(
            an_override("PodCliqueSet", {}),
            "providerOverride.target is 'PodCliqueSet'; allowed: PodCliqueTemplateSpec",
            id="target",
        ),
        pytest.param(
            {**an_override("PodCliqueTemplateSpec", {}), "apiVersion": "v1"},
            "providerOverride.apiVersion is 'v1'; allowed: grove.io/v1alpha1",
            id="version",
        ),
        pytest.param(
            an_override("PodCliqueTemplateSpec", {"spec": {"replicas": 9}}),
            "providerOverride.value.spec is set; allowed: providerOverride.value.topologyConstraint",
            id="more-than-placement",
        ),
        pytest.param(
            an_override("PodCliqueTemplateSpec", {"topologyConstraint": 1}),
            "providerOverride.value.topologyConstraint is 1; allowed: a mapping",
            id="no-mapping",
        ),
    ],
)
def test_overrides_of_anything_but_placement_are_refused(override: Document, found: str) -> None:
    with pytest.raises(RenderError, match=re.escape(f"component Worker: {found}")):
        a_set(a_graph(a_component(providerOverride=override)))
