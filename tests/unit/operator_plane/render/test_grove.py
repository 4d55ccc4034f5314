"""The Grove pathway: which graphs take it, and what the PodCliqueSet says of gangs, groups, placement and names."""

from __future__ import annotations

import copy
import json
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dynamo_operator.api import SpecError, parse_graph
from dynamo_operator.render import RenderError, render
from tests.unit.operator_plane.render.factories import (
    a_clique,
    a_component,
    a_context,
    a_graph,
    a_graph_document,
    a_set,
    gang_template,
    rendered,
)

Document = dict[str, Any]


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


def test_labels_and_annotations_of_v1alpha1_services_reach_cliques_and_services() -> None:
    payload = {"version": 1, "spec": {"services": {"Worker": {"labels": {"team": "a"}, "annotations": {"note": "b"}}}}}
    annotations = {"nvidia.com/dgd-spec": json.dumps(payload)}
    graph = parse_graph(a_graph_document(a_component(), annotations_=annotations))
    (service,) = rendered(graph, "Service", has_grove=True)
    for metadata in (a_clique(graph), service["metadata"]):
        assert metadata["labels"]["team"] == "a"
        assert metadata["annotations"]["note"] == "b"


def test_a_base_model_has_its_service_and_a_v1alpha1_ingress_its_ingress() -> None:
    payload = {"version": 1, "spec": {"services": {"Frontend": {"ingress": {"enabled": True, "host": "h"}}}}}
    document = a_graph_document(
        a_component("Frontend", "frontend"),
        a_component(modelRef={"name": "m"}),
        annotations_={"nvidia.com/dgd-spec": json.dumps(payload)},
    )
    graph = parse_graph(document)
    names = [each["metadata"]["name"] for each in rendered(graph, "Service", has_grove=True)]
    assert [name.startswith("dynamo-model-") for name in names] == [False, False, True]
    (ingress,) = rendered(graph, "Ingress", has_grove=True)
    assert ingress["spec"]["rules"][0]["http"]["paths"][0]["backend"]["service"]["name"] == "g-frontend"


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


def test_a_gang_of_no_pods_is_refused() -> None:
    with pytest.raises(SpecError, match=r"spec\.components\[0\]\.minAvailable: found 0"):
        a_graph(a_component(minAvailable=0))


def test_a_forced_scaling_group_scales_in_groups_of_one_pod() -> None:
    grove = {"grove": {"forceScalingGroup": True}}
    graph = a_graph(a_component(replicas=3, minAvailable=2, experimental=grove), a_component("F", "frontend"))
    template = gang_template(graph)
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
    assert gang_template(a_graph(), grove_termination_delay_s=delay_s).get("terminationDelay") == rendered_as


def test_priority_and_update_strategy_come_from_the_graph() -> None:
    annotations = {"nvidia.com/grove-update-strategy": "OnDelete"}
    document = a_set(a_graph(priorityClassName="high", annotations_=annotations))
    assert document["spec"]["template"]["priorityClassName"] == "high"
    assert document["spec"]["updateStrategy"] == {"type": "OnDelete"}
    plain = a_set(a_graph())
    assert "priorityClassName" not in plain["spec"]["template"]
    assert "updateStrategy" not in plain["spec"]


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


@settings(deadline=None)  # a busy machine takes its time
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


_KEYS = (
    "apiVersion",
    "target",
    "value",
    "topologyConstraint",
    "pack",
    "clusterTopologyName",
    "packDomain",
    "nodeCount",
    "leader",
    "worker",
    "providerOverride",
    "grove",
    "forceScalingGroup",
)
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 3) | st.text("a/", max_size=2),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(_KEYS), inner, max_size=4),
    max_leaves=8,
)
_FIELDS = ("minAvailable", "multinode", "providerOverride", "topologyConstraint", "experimental", "replicas")
_GRAPH_FIELDS = ("priorityClassName", "topologyConstraint", "providerOverride")


@settings(deadline=None)  # a busy machine takes its time
@given(st.dictionaries(st.sampled_from(_FIELDS), _JSON), st.dictionaries(st.sampled_from(_GRAPH_FIELDS), _JSON))
def test_whatever_a_graph_says_of_its_gang_is_rendered_or_refused_with_its_reason(
    component: dict[str, Any], spec: dict[str, Any]
) -> None:
    try:
        first = render(a_graph(a_component(**component), **spec), a_context(has_grove=True))
    except (SpecError, RenderError):
        return
    assert render(a_graph(a_component(**component), **spec), a_context(has_grove=True)) == first
    assert json.loads(json.dumps(first)) == list(first)


def test_a_gang_renders_the_same_each_time_and_shares_nothing() -> None:
    graph = a_graph(
        a_component(topologyConstraint={"packDomain": "rack"}),
        a_component("F", "frontend"),
        topologyConstraint={"clusterTopologyName": "t"},
    )
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
