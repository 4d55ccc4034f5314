"""What is filled in, and that filling in twice, or after somebody replaced the object, changes nothing."""

from __future__ import annotations

from typing import Any

import pytest

from dynamo_operator.validate import Context
from dynamo_operator.webhook import Verb, review_admission
from dynamo_operator.webhook.defaults import pointer
from tests.unit.operator_plane.validate.manifests import (
    a_component,
    a_graph,
    a_model,
    a_standalone,
    an_alpha_graph,
    with_,
)
from tests.unit.operator_plane.webhook.factories import a_context, a_review, patch_of, patched

ORIGIN = "nvidia.com/dynamo-operator-origin-version"
PROVIDER = "nvidia.com/workload-provider"
GROVE = Context(has_grove=True)


def filled(
    document: dict[str, Any], old: dict[str, Any] | None = None, cluster: Context | None = None
) -> dict[str, Any]:
    answer = review_admission(a_review(document, old), a_context(cluster), Verb.MUTATE).review
    assert answer["response"]["allowed"] is True, answer
    return patched(document, patch_of(answer))


def without_replicas(**fields: Any) -> dict[str, Any]:
    component = a_component(**fields)
    del component["replicas"]
    return component


def test_missing_replicas_are_stored_as_one() -> None:
    assert filled(a_graph(without_replicas()))["spec"]["components"][0]["replicas"] == 1
    assert filled(an_alpha_graph())["spec"]["services"]["decode"]["replicas"] == 1
    alone = a_standalone()
    del alone["spec"]["replicas"]
    assert filled(alone)["spec"]["replicas"] == 1


@pytest.mark.parametrize("replicas", [0, 3])
def test_set_replicas_stay(replicas: int) -> None:
    assert filled(a_graph(a_component(replicas=replicas)))["spec"]["components"][0]["replicas"] == replicas


def test_the_origin_version_is_stamped_once() -> None:
    created = filled(a_graph())
    assert created["metadata"]["annotations"][ORIGIN] == "1.5.0"
    older = with_(a_graph(), "metadata.annotations", {ORIGIN: "1.3.0", "a": "b"})
    assert filled(older)["metadata"]["annotations"].items() >= {ORIGIN: "1.3.0", "a": "b"}.items()
    assert ORIGIN not in filled(a_graph(), a_graph())["metadata"].get("annotations", {})  # from before the stamp


def test_a_graphs_component_deployment_has_its_graphs_origin() -> None:
    owner = {"apiVersion": "nvidia.com/v1beta1", "kind": "DynamoGraphDeployment", "name": "g", "uid": "1"}
    alone, owned = a_standalone(), with_(a_standalone(), "metadata.ownerReferences", [{**owner, "controller": True}])
    assert ORIGIN in filled(alone)["metadata"]["annotations"]
    assert "annotations" not in filled(owned)["metadata"]
    referred = with_(a_standalone(), "metadata.ownerReferences", [owner])
    assert ORIGIN in filled(referred)["metadata"]["annotations"]


@pytest.mark.parametrize(
    ("annotations", "cluster", "provider"),
    [
        pytest.param({}, None, "component", id="plain-cluster"),
        pytest.param({}, GROVE, "grove", id="grove"),
        pytest.param({"nvidia.com/enable-grove": "false"}, GROVE, "component", id="grove-declined"),
        pytest.param({PROVIDER: "component"}, GROVE, "component", id="already-recorded"),
    ],
)
def test_the_workload_provider_is_recorded_at_creation(
    annotations: dict[str, str], cluster: Context | None, provider: str
) -> None:
    graph = with_(a_graph(), "metadata.annotations", annotations)
    assert filled(graph, cluster=cluster)["metadata"]["annotations"][PROVIDER] == provider


def test_a_graph_keeps_its_provider_when_grove_comes_later() -> None:
    stored = filled(a_graph())
    assert filled(a_graph(), stored, GROVE)["metadata"]["annotations"][PROVIDER] == "component"
    assert "minAvailable" not in filled(a_graph(), stored, GROVE)["spec"]["components"][0]
    assert PROVIDER not in filled(a_graph(), a_graph(), GROVE)["metadata"].get("annotations", {})  # the operator's call


def test_only_gangs_get_a_minimum() -> None:
    assert "minAvailable" not in filled(a_graph())["spec"]["components"][0]
    assert filled(a_graph(), cluster=GROVE)["spec"]["components"][0]["minAvailable"] == 1
    assert filled(an_alpha_graph(), cluster=GROVE)["spec"]["services"]["decode"]["minAvailable"] == 1
    off = with_(a_graph(), "metadata.annotations", {"nvidia.com/enable-grove": "false"})
    assert "minAvailable" not in filled(off, cluster=GROVE)["spec"]["components"][0]


def test_a_standalone_component_is_named_after_its_object() -> None:
    alone = a_standalone()
    del alone["spec"]["name"]
    assert filled(alone)["spec"]["name"] == "g-decode"
    assert filled(a_standalone(name="x"))["spec"]["name"] == "x"


@pytest.mark.parametrize(
    "document",
    [
        pytest.param(a_graph(without_replicas()), id="v1beta1"),
        pytest.param(an_alpha_graph(), id="v1alpha1"),
        pytest.param(a_standalone(), id="standalone"),
    ],
)
def test_what_is_filled_in_is_filled_in_once(document: dict[str, Any]) -> None:
    stored = filled(document, cluster=GROVE)
    again = review_admission(a_review(stored, stored), a_context(GROVE), Verb.MUTATE).review
    assert patch_of(again) == []
    assert "patch" not in again["response"]


def test_replacing_the_object_by_its_manifest_changes_nothing() -> None:
    manifest = a_graph(without_replicas(scalingAdapter={}))
    stored = with_(filled(manifest, cluster=GROVE), "spec.components[0].replicas", 7)  # the adapter was scaled
    stored = with_(stored, "spec.components[0].minAvailable", 2)
    assert filled(manifest, stored, GROVE) == stored


def test_without_an_adapter_the_manifest_rules_the_replicas() -> None:
    manifest = a_graph(without_replicas())
    stored = with_(filled(manifest), "spec.components[0].replicas", 7)
    assert filled(manifest, stored)["spec"]["components"][0]["replicas"] == 1


def test_a_model_is_stored_as_written() -> None:
    assert filled(a_model()) == a_model()


def test_a_pointer_escapes_what_it_must() -> None:
    assert pointer(("metadata", "annotations", "a/b~c", 0)) == "/metadata/annotations/a~1b~0c/0"


@pytest.mark.parametrize("spec", [None, [], {"components": 3}, {"components": [None]}, {"components": {}}])
def test_a_broken_shape_is_refused_and_breaks_nothing(spec: Any) -> None:
    answer = review_admission(a_review(a_graph() | {"spec": spec}), a_context(GROVE), Verb.MUTATE)
    assert answer.review["response"]["allowed"] is False
    assert answer.denied_fields
