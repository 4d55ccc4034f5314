"""The Grove pathway: which graphs take it, and what the PodCliqueSet says of gangs, groups, placement and names."""

from __future__ import annotations

import copy
import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynamo_operator.api import Graph
from dynamo_operator.render import RenderError, render
from tests.unit.operator_plane.render.factories import a_component, a_context, a_graph, rendered

Document = dict[str, Any]


def a_set(graph: Graph, **context: Any) -> Document:
    """The graph's PodCliqueSet."""
    (document,) = rendered(graph, "PodCliqueSet", has_grove=True, **context)
    return document


def template_of(graph: Graph, **context: Any) -> Document:
    """Its template."""
    template: Document = a_set(graph, **context)["spec"]["template"]
    return template


def a_clique(graph: Graph, position: int = 0, **context: Any) -> Document:
    """Its n-th clique."""
    clique: Document = template_of(graph, **context)["cliques"][position]
    return clique


@pytest.mark.parametrize(
    ("annotations", "has_grove", "kind"),
    [
        pytest.param({}, True, "PodCliqueSet", id="grove-where-the-cluster-has-it"),
        pytest.param({}, False, "Deployment", id="deployments-without-grove"),
        pytest.param({"nvidia.com/enable-grove": "false"}, True, "Deployment", id="switched-off"),
        pytest.param({"nvidia.com/enable-grove": "False"}, True, "Deployment", id="switched-off-in-another-case"),
        pytest.param({"nvidia.com/enable-grove": "true"}, False, "Deployment", id="the-switch-makes-no-grove"),
        pytest.param({"nvidia.com/workload-provider": "component"}, True, "Deployment", id="recorded-component"),
        pytest.param({"nvidia.com/workload-provider": "grove"}, False, "PodCliqueSet", id="recorded-grove"),
        pytest.param(
            {"nvidia.com/workload-provider": "grove", "nvidia.com/enable-grove": "false"},
            True,
            "PodCliqueSet",
            id="a-record-outlives-the-switch",
        ),
    ],
)
def test_the_pathway_follows_the_record_then_the_switch_then_the_cluster(
    annotations: dict[str, str], has_grove: bool, kind: str
) -> None:
    kinds = {each["kind"] for each in render(a_graph(annotations_=annotations), a_context(has_grove=has_grove))}
    assert kinds & {"PodCliqueSet", "Deployment", "DynamoComponentDeployment"} == (
        {"PodCliqueSet"} if kind == "PodCliqueSet" else {"Deployment", "DynamoComponentDeployment"}
    )


def test_everything_of_a_gang_belongs_to_its_graph() -> None:
    graph = a_graph(a_component("Frontend", "frontend"), a_component(modelRef={"name": "m"}))
    for document in render(graph, a_context(has_grove=True)):
        if not document["metadata"]["name"].startswith("planner-serviceaccount"):
            (owner,) = document["metadata"]["ownerReferences"]
            assert (owner["kind"], owner["name"]) == ("DynamoGraphDeployment", "g")


def test_services_carry_no_generation_so_that_pods_rolled_in_place_keep_them() -> None:
    services = rendered(a_graph(a_component("Frontend", "frontend"), a_component()), "Service", has_grove=True)
    assert [each["metadata"]["name"] for each in services] == ["g-frontend", "g-worker"]


def test_services_select_the_pods_of_their_clique() -> None:
    graph = a_graph(a_component("Frontend", "frontend"), a_component("Decode", "decode"))
    for position, service in enumerate(rendered(graph, "Service", has_grove=True)):
        assert service["spec"]["selector"].items() <= a_clique(graph, position)["labels"].items()


def test_components_with_one_model_share_its_service() -> None:
    model = {"name": "m"}
    graph = a_graph(a_component("P", "prefill", modelRef=model), a_component("D", "decode", modelRef=model))
    names = [each["metadata"]["name"] for each in rendered(graph, "Service", has_grove=True)]
    assert sorted(names) == sorted({*names})


def test_labels_and_annotations_of_users_reach_sets_cliques_and_services() -> None:
    metadata = {"labels": {"team": "a"}, "annotations": {"note": "b"}}
    graph = a_graph(a_component(template={"metadata": metadata}), labels={"l": "1"}, annotations={"a": "2"})
    document = a_set(graph)
    assert document["metadata"]["labels"] == {"l": "1", "nvidia.com/dynamo-graph-deployment-name": "g"}
    assert document["metadata"]["annotations"] == {"a": "2"}
    (service,) = rendered(graph, "Service", has_grove=True)
    for labels in (a_clique(graph)["labels"], service["metadata"]["labels"]):
        assert {"l": "1", "team": "a"}.items() <= labels.items()
    for found in (a_clique(graph)["annotations"], service["metadata"]["annotations"]):
        assert {"a": "2", "note": "b"}.items() <= found.items()


def test_users_cannot_break_the_labels_that_selectors_need() -> None:
    broken = {"nvidia.com/selector": "x", "nvidia.com/dynamo-component": "x", "nvidia.com/dynamo-namespace": "x"}
    labels = a_clique(a_graph(a_component(template={"metadata": {"labels": broken}})))["labels"]
    assert "x" not in labels.values()


@pytest.mark.parametrize(
    ("fields", "replicas", "least"),
    [
        pytest.param({}, 1, 1, id="one-of-one"),
        pytest.param({"replicas": 3}, 3, 1, id="one-of-three"),
        pytest.param({"replicas": 3, "minAvailable": 2}, 3, 2, id="two-of-three"),
        pytest.param({"replicas": 0, "minAvailable": 2}, 0, 2, id="scaled-to-zero"),
    ],
)
def test_a_gang_starts_with_as_few_pods_as_the_component_allows(
    fields: dict[str, Any], replicas: int, least: int
) -> None:
    spec = a_clique(a_graph(a_component(**fields)))["spec"]
    assert (spec["replicas"], spec["minAvailable"]) == (replicas, least)


def test_a_forced_scaling_group_scales_in_groups_of_one_pod() -> None:
    grove = {"grove": {"forceScalingGroup": True}}
    graph = a_graph(a_component(replicas=3, minAvailable=2, experimental=grove), a_component("F", "frontend"))
    template = template_of(graph)
    assert [(each["name"], each["spec"]["replicas"]) for each in template["cliques"]] == [("worker", 1), ("f", 1)]
    assert template["cliques"][0]["spec"]["minAvailable"] == 1
    assert template["podCliqueScalingGroups"] == [
        {"name": "worker", "cliqueNames": ["worker"], "replicas": 3, "minAvailable": 2}
    ]


@pytest.mark.parametrize(
    ("delay_s", "rendered_as"),
    [(14_400, "4h0m0s"), (900, "15m0s"), (5461, "1h31m1s"), (30, "30s"), (0, None)],
)
def test_a_gang_ends_after_the_configured_delay(delay_s: int, rendered_as: str | None) -> None:
    assert template_of(a_graph(), grove_termination_delay_s=delay_s).get("terminationDelay") == rendered_as


def test_priority_and_update_strategy_come_from_the_graph() -> None:
    annotations = {"nvidia.com/grove-update-strategy": "OnDelete"}
    document = a_set(a_graph(priorityClassName="high", annotations_=annotations))
    assert document["spec"]["template"]["priorityClassName"] == "high"
    assert document["spec"]["updateStrategy"] == {"type": "OnDelete"}
    plain = a_set(a_graph())
    assert "priorityClassName" not in plain["spec"]["template"]
    assert "updateStrategy" not in plain["spec"]


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


def test_pods_that_name_a_scheduler_keep_it() -> None:
    clique = a_clique(a_graph(a_component(pod={"schedulerName": "mine"})), gang_scheduler="kai-scheduler")
    assert clique["spec"]["podSpec"]["schedulerName"] == "mine"
    assert "kai.scheduler/queue" not in clique["labels"]


TOPOLOGY = {"clusterTopologyName": "t"}
RACK = {"packDomain": "rack"}


def test_a_packed_graph_names_its_topology_once() -> None:
    graph = a_graph(a_component(topologyConstraint=RACK), topologyConstraint={**TOPOLOGY, "packDomain": "zone"})
    template = template_of(graph)
    assert template["topologyConstraint"] == {"topologyName": "t", "pack": {"required": "zone"}}
    assert template["cliques"][0]["topologyConstraint"] == {"pack": {"required": "rack"}}


def test_a_packed_component_of_an_unpacked_graph_names_the_topology_itself() -> None:
    grove = {"grove": {"forceScalingGroup": True}}
    grouped = a_component("Grouped", topologyConstraint=RACK, experimental=grove)
    template = template_of(a_graph(a_component(topologyConstraint=RACK), grouped, topologyConstraint=TOPOLOGY))
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
    template = template_of(graph)
    assert template["topologyConstraint"] == {"topologyName": "u"}
    assert template["cliques"][0]["topologyConstraint"] == {"pack": {"required": "rack", "preferred": "rack"}}
    assert template["podCliqueScalingGroups"][0]["topologyConstraint"] == PREFERRED["topologyConstraint"]
    assert len(template["cliques"]) == 2


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


@pytest.mark.parametrize(
    ("graph", "component", "name"),
    [
        pytest.param("g" * 39, "Worker", "g" * 39, id="as-long-as-it-may-be"),
        pytest.param("g" * 40, "Worker", "g" * 34 + "-9ccd", id="one-longer"),
        pytest.param("long-name-of-a-graph", "w" * 37, "lon-292a", id="no-shorter-than-eight"),
    ],
)
def test_a_name_too_long_for_grove_is_cut_and_hashed(graph: str, component: str, name: str) -> None:
    document = a_set(a_graph(a_component(component), name=graph), namespace="n")
    assert document["metadata"]["name"] == name
    assert document["metadata"]["labels"]["nvidia.com/dynamo-graph-deployment-name"] == graph


def test_graphs_that_begin_alike_get_different_sets() -> None:
    first, second = (a_set(a_graph(name="g" * 50 + end), namespace="n") for end in "ab")
    assert first["metadata"]["name"] != second["metadata"]["name"]


def test_a_component_that_leaves_no_room_for_the_set_is_refused() -> None:
    with pytest.raises(RenderError, match=r"component w{38}: .* 46 characters together; allowed: 45"):
        a_set(a_graph(a_component("w" * 38), name="g" * 8))


_LETTERS = st.text("abcXYZ019-", min_size=1, max_size=60)


@given(_LETTERS, _LETTERS, _LETTERS, st.booleans())
def test_whatever_the_names_are_they_fit_or_are_refused(
    graph: str, component: str, namespace: str, is_group: bool
) -> None:
    grove = {"grove": {"forceScalingGroup": is_group}}
    try:
        documents = render(
            a_graph(a_component(component, experimental=grove), name=graph),
            a_context(namespace=namespace, has_grove=True),
        )
    except RenderError:
        return
    for document in documents:
        assert all(len(value) <= 63 for value in document["metadata"].get("labels", {}).values())
        if document["kind"] == "PodCliqueSet":
            clique = document["spec"]["template"]["cliques"][0]["name"]
            assert len(document["metadata"]["name"]) + len(clique) * (1 + is_group) <= 45
        elif document["kind"] == "Service":
            assert len(document["metadata"]["name"]) <= 63


def test_a_gang_renders_the_same_each_time_and_shares_nothing() -> None:
    graph = a_graph(a_component(topologyConstraint=RACK), a_component("F", "frontend"), topologyConstraint=TOPOLOGY)
    first = render(graph, a_context(has_grove=True, gang_scheduler="kai-scheduler"))
    assert json.loads(json.dumps(first)) == list(first)
    before = copy.deepcopy(first)
    for document in render(graph, a_context(has_grove=True, gang_scheduler="kai-scheduler")):
        document["metadata"].clear()
    first[-1]["metadata"].clear()
    assert first[:-1] == before[:-1]


@pytest.mark.parametrize(
    ("experimental", "found"),
    [
        pytest.param({"checkpoint": {"enabled": True}}, "experimental.checkpoint is enabled", id="checkpoint"),
        pytest.param({"failover": {}}, "experimental.failover is set; it needs", id="failover-alone"),
        pytest.param({"gpuMemoryService": {"mode": "InterPod"}}, "mode InterPod", id="across-pods"),
    ],
)
def test_features_that_no_pathway_has_are_refused_by_name(experimental: Document, found: str) -> None:
    with pytest.raises(RenderError, match=re.escape(f"component Worker: {found}")):
        a_set(a_graph(a_component(experimental=experimental)))
