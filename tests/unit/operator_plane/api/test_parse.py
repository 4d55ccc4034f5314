"""Parsing names the field it fails on, and gives values that cannot be changed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynamo_operator.api import ComponentType, SpecError, freeze, parse_component_deployment, parse_graph, thaw
from tests.unit.operator_plane.render.factories import a_component, a_graph_document

_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)


@given(_JSON)
def test_thawing_gives_back_what_was_frozen(value: Any) -> None:
    assert thaw(freeze(value)) == value


def test_a_frozen_document_cannot_be_changed() -> None:
    frozen = freeze({"a": [{"b": 1}]})
    with pytest.raises(TypeError):
        frozen["a"][0]["b"] = 2
    with pytest.raises(TypeError):
        frozen["a"][0] = {}


def test_a_null_is_an_absent_value_at_any_depth() -> None:
    nulls = {"nodeSelector": None, "tolerations": [{"key": "a", "value": None}], "volumes": None}
    said = {"tolerations": [{"key": "a"}]}
    written, absent = (a_graph_document(a_component(pod=pod), env=env) for pod, env in ((nulls, None), (said, [])))
    assert parse_graph(written) == parse_graph(absent)
    document = a_graph_document(a_component(), env=[{"name": "A", "value": "1", "valueFrom": None}])
    assert thaw(parse_graph(document).env) == [{"name": "A", "value": "1"}]


def test_later_changes_of_the_document_do_not_reach_the_graph() -> None:
    document = a_graph_document()
    graph = parse_graph(document)
    document["spec"]["components"][0]["podTemplate"]["spec"]["containers"][0]["image"] = "other:1.0.0"
    assert graph.components[0].main["image"] == "engine:1.5.0"


def test_a_component_gets_the_apis_defaults() -> None:
    document = a_graph_document(
        a_component(experimental={"gpuMemoryService": {}, "failover": {}}, multinode={}, scalingAdapter={})
    )
    (component,) = parse_graph(document).components
    assert component.type is ComponentType.WORKER
    assert (component.replicas, component.node_count) == (1, 2)
    assert component.has_scaling_adapter
    assert thaw(component.spec["experimental"]) == {
        "gpuMemoryService": {"mode": "IntraPod", "deviceClassName": "gpu.nvidia.com"},
        "failover": {"mode": "IntraPod", "numShadows": 1},
    }


def _with(**component: Any) -> Mapping[str, Any]:
    return a_graph_document({**a_component(), **component})


@pytest.mark.parametrize(
    ("document", "path"),
    [
        pytest.param({"kind": "DynamoGraphDeployment"}, "apiVersion", id="no-api-version"),
        pytest.param({**a_graph_document(), "apiVersion": "nvidia.com/v1alpha1"}, "apiVersion", id="old-version"),
        pytest.param({**a_graph_document(), "kind": "Pod"}, "kind", id="kind"),
        pytest.param({**a_graph_document(), "metadata": {}}, "metadata.name", id="no-name"),
        pytest.param({**a_graph_document(), "spec": {"components": {}}}, "spec.components", id="components-no-list"),
        pytest.param(a_graph_document(a_component(), env=["X"]), "spec.env[0]", id="env-entry"),
        pytest.param(a_graph_document(labels={"a": 1}), "spec.labels[a]", id="label"),
        pytest.param(a_graph_document(env=[{"value": "x"}]), "spec.env[0].name", id="env-name"),
        pytest.param(_with(eppConfig={"config": []}), "spec.components[0].eppConfig.config", id="picker-config"),
        pytest.param(_with(name=""), "spec.components[0].name", id="empty-name"),
        pytest.param(_with(type="main"), "spec.components[0].type", id="type"),
        pytest.param(_with(replicas=-1), "spec.components[0].replicas", id="replicas"),
        pytest.param(_with(replicas=True), "spec.components[0].replicas", id="replicas-bool"),
        pytest.param(_with(modelRef={}), "spec.components[0].modelRef.name", id="model-name"),
        pytest.param(_with(compilationCache={}), "spec.components[0].compilationCache.pvcName", id="cache-claim"),
        pytest.param(_with(sharedMemorySize=[]), "spec.components[0].sharedMemorySize", id="quantity"),
        pytest.param(
            _with(podTemplate={"spec": {"containers": [{"image": "x"}]}}),
            "spec.components[0].podTemplate.spec.containers[0].name",
            id="container-name",
        ),
        pytest.param(
            a_graph_document(a_component(main={"env": [{"value": "x"}]})),
            "spec.components[0].podTemplate.spec.containers[0].env[0].name",
            id="env-name",
        ),
        pytest.param(
            a_graph_document(a_component(pod={"imagePullSecrets": [{}]})),
            "spec.components[0].podTemplate.spec.imagePullSecrets[0].name",
            id="pull-secret-name",
        ),
        pytest.param(
            a_graph_document(annotations_={"nvidia.com/dgd-spec": '{"services": {"Worker": {"labels": []}}}'}),
            "metadata.annotations[nvidia.com/dgd-spec].spec.services.Worker.labels",
            id="payload",
        ),
    ],
)
def test_a_wrong_field_is_named(document: Mapping[str, Any], path: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse_graph(document)
    assert caught.value.path == path
    assert str(caught.value).startswith(f"{path}: found ")


def test_preserved_v1alpha1_payload_is_honoured() -> None:
    claim = {"name": "c", "create": True, "size": "1Gi", "storageClass": "s", "volumeAccessMode": "ReadWriteOnce"}
    ingress = {"enabled": True, "host": "h"}
    spec = {
        "pvcs": [claim, {"name": "existing", "create": False}],
        "services": {"Worker": {"ingress": ingress, "labels": {"a": "b"}}},
    }
    payload = json.dumps({"version": 1, "spec": spec})
    graph = parse_graph(a_graph_document(annotations_={"nvidia.com/dgd-spec": payload}))
    assert [each.name for each in graph.claims] == ["c"]
    assert thaw(graph.components[0].preserved.document) == {"ingress": ingress, "labels": {"a": "b"}}


def test_preserved_payload_from_before_the_envelope_is_honoured() -> None:
    payload = json.dumps({"services": {"Worker": {"labels": {"a": "b"}}}})
    graph = parse_graph(a_graph_document(annotations_={"nvidia.com/dgd-spec": payload}))
    assert thaw(graph.components[0].preserved.document) == {"labels": {"a": "b"}}


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"spec": 1}', "[" * 100_000])
def test_an_unreadable_payload_counts_as_absent(text: str) -> None:
    graph = parse_graph(a_graph_document(annotations_={"nvidia.com/dgd-spec": text}))
    assert (graph.claims, graph.components[0].preserved.document) == ((), {})


def test_a_component_deployment_reads_its_own_payload() -> None:
    document = {
        "apiVersion": "nvidia.com/v1beta1",
        "kind": "DynamoComponentDeployment",
        "metadata": {
            "name": "alone",
            "annotations": {
                "nvidia.com/dgd-spec": json.dumps({"spec": {"labels": {"not": "this"}}}),
                "nvidia.com/dcd-spec": json.dumps({"spec": {"labels": {"a": "b"}}}),
            },
        },
        "spec": {"type": "worker"},
    }
    assert thaw(parse_component_deployment(document).component.preserved.document) == {"labels": {"a": "b"}}


def test_a_claim_to_create_needs_its_size() -> None:
    payload = json.dumps({"version": 1, "spec": {"pvcs": [{"name": "c", "create": True}]}})
    with pytest.raises(SpecError, match=r"pvcs\[0\]\.size"):
        parse_graph(a_graph_document(annotations_={"nvidia.com/dgd-spec": payload}))


def test_a_component_deployment_is_named_after_its_object_unless_it_says_so() -> None:
    document = {
        "apiVersion": "nvidia.com/v1beta1",
        "kind": "DynamoComponentDeployment",
        "metadata": {"name": "alone"},
        "spec": {"type": "worker", "podTemplate": {}},
    }
    deployment = parse_component_deployment(document)
    assert (deployment.component.name, deployment.graph_name, deployment.parent_name) == ("alone", None, "alone")


def test_nothing_said_is_nothing_found() -> None:
    """YAML's `key:` without a value is null: no annotation, no type."""
    document = a_graph_document(a_component(type_=None))
    document["metadata"]["annotations"] = {"blank": None}
    document["spec"]["annotations"] = {"blank": None}

    graph = parse_graph(document)

    assert (dict(graph.metadata_annotations), dict(graph.annotations)) == ({}, {})
    assert graph.components[0].type is None


def test_a_claims_size_may_be_written_as_a_number() -> None:
    claim = {"name": "c", "create": True, "size": 7, "storageClass": "s", "volumeAccessMode": "ReadWriteOnce"}
    document = a_graph_document(a_component())
    document["metadata"]["annotations"] = {"nvidia.com/dgd-spec": json.dumps({"spec": {"pvcs": [claim]}})}

    assert [each.size for each in parse_graph(document).claims] == ["7"]
