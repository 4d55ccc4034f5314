"""Whole objects: kinds and versions, single components, scaling adapters, status, and errors."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given

from dynamo_operator.convert import V1ALPHA1, V1BETA1, ConversionError, convert, to_v1alpha1, to_v1beta1
from tests.unit.operator_plane.convert.manifests import (
    ALPHA_SERVICES,
    BETA_COMPONENTS,
    PAYLOADS,
    alpha_graph,
    beta_graph,
    graph,
    meaning,
)
from tests.unit.operator_plane.convert.test_roundtrip import EXAMPLES


def single(version: str, spec: dict[str, Any], **parts: Any) -> dict[str, Any]:
    return {
        "apiVersion": version,
        "kind": "DynamoComponentDeployment",
        "metadata": {"name": "g-w"},
        "spec": spec,
        **parts,
    }


def test_object_in_its_own_version_is_returned_as_it_is() -> None:
    model = {"apiVersion": "nvidia.com/v1alpha1", "kind": "DynamoModel", "spec": {"modelName": "m"}}

    assert convert(model, V1ALPHA1) == model
    assert convert(beta_graph({"name": "w"}), V1BETA1) == beta_graph({"name": "w"})


@pytest.mark.parametrize(
    ("obj", "version", "message"),
    [
        pytest.param(
            {"apiVersion": V1ALPHA1, "kind": "DynamoModel"},
            V1BETA1,
            "kind: DynamoModel has no conversion from nvidia.com/v1alpha1 to nvidia.com/v1beta1; allowed: ",
            id="kind",
        ),
        pytest.param(
            graph("nvidia.com/v1", {}),
            V1BETA1,
            "apiVersion: found 'nvidia.com/v1' for DynamoGraphDeployment; allowed: ",
            id="found-version",
        ),
        pytest.param(alpha_graph(), "v2", "apiVersion: found 'v2' for DynamoGraphDeployment", id="wanted-version"),
        pytest.param(
            graph(V1ALPHA1, {"services": []}),
            V1BETA1,
            "spec.services: found list [], expected an object",
            id="services",
        ),
        pytest.param(alpha_graph(w="x"), V1BETA1, "spec.services.w: found str 'x', expected an object", id="service"),
        pytest.param(
            graph(V1BETA1, {"components": {}}),
            V1ALPHA1,
            "spec.components: found dict {}, expected a list",
            id="components",
        ),
        pytest.param(beta_graph({}), V1ALPHA1, "spec.components[0].name: found None, expected a name", id="nameless"),
        pytest.param(
            beta_graph({"name": "w"}, {"name": "w"}),
            V1ALPHA1,
            "spec.components[1].name: 'w' is used twice, expected unique names",
            id="name-used-twice",
        ),
        pytest.param(
            alpha_graph(w={"extraPodSpec": {"mainContainer": []}}),
            V1BETA1,
            "spec.services.w.extraPodSpec.mainContainer: found list [], expected an object",
            id="nested",
        ),
        pytest.param(
            beta_graph({"name": "w", "podTemplate": {"spec": {"containers": [1]}}}),
            V1ALPHA1,
            "spec.components[0].podTemplate.spec.containers[0]: found int 1, expected an object",
            id="container",
        ),
        pytest.param(
            alpha_graph(w={"envs": ["A=1"]}),
            V1BETA1,
            "spec.services.w.envs[0]: found str 'A=1', expected an object",
            id="variable",
        ),
    ],
)
def test_unreadable_object_is_refused_with_its_field(obj: dict[str, Any], version: str, message: str) -> None:
    with pytest.raises(ConversionError) as refusal:
        convert(obj, version)

    assert str(refusal.value).startswith(message)


def test_single_component_is_named_after_its_object_and_forgets_that_on_the_way_back() -> None:
    alpha = single(V1ALPHA1, {"backendFramework": "vllm", "dynamoTag": "t", "replicas": 1})
    beta = to_v1beta1(alpha)

    assert beta["spec"] == {"backendFramework": "vllm", "replicas": 1, "name": "g-w"}
    assert to_v1alpha1(beta) == alpha


def test_single_component_renamed_through_v1beta1_has_a_service_name() -> None:
    beta = to_v1beta1(single(V1ALPHA1, {"replicas": 1}))
    beta["spec"]["name"] = "w"

    assert to_v1alpha1(beta)["spec"] == {"replicas": 1, "serviceName": "w"}


@EXAMPLES
@given(ALPHA_SERVICES, BETA_COMPONENTS)
def test_any_single_component_survives_the_other_version(service: dict[str, Any], component: dict[str, Any]) -> None:
    alpha, beta = single(V1ALPHA1, service), single(V1BETA1, component)
    nameless = single(V1BETA1, {key: value for key, value in component.items() if key != "name"})

    assert meaning(to_v1alpha1(to_v1beta1(alpha))) == meaning(alpha)
    assert meaning(to_v1beta1(to_v1alpha1(beta))) == meaning(beta)
    assert meaning(to_v1beta1(to_v1alpha1(nameless))) == meaning(nameless)


def test_adapter_names_the_component_in_both_versions() -> None:
    alpha = {
        "apiVersion": V1ALPHA1,
        "kind": "DynamoGraphDeploymentScalingAdapter",
        "metadata": {"name": "g-w"},
        "spec": {"replicas": 2, "dgdRef": {"name": "g", "serviceName": "w"}},
        "status": {"replicas": 1, "selector": "a=b"},
    }
    beta = to_v1beta1(alpha)

    assert beta["spec"] == {"replicas": 2, "dgdRef": {"name": "g", "componentName": "w"}}
    assert beta["status"] == alpha["status"]
    assert to_v1alpha1(beta) == alpha


REPLICAS = {"componentKind": "Deployment", "replicas": 2, "updatedReplicas": 1}


def test_graph_status_is_said_in_both_versions() -> None:
    shared_part = {"state": "successful", "observedGeneration": 3, "conditions": [{"type": "Ready", "status": "True"}]}
    beta = {
        **beta_graph({"name": "w"}),
        "status": {
            **shared_part,
            "rollingUpdate": {"phase": "Completed", "updatedComponents": ["w"]},
            "components": {"w": {**REPLICAS, "componentNames": ["g-w-1", "g-w-2"]}},
        },
    }
    alpha = to_v1alpha1(beta)

    assert alpha["status"] == {
        **shared_part,
        "rollingUpdate": {"phase": "Completed", "updatedServices": ["w"]},
        "services": {"w": {**REPLICAS, "componentName": "g-w-2", "componentNames": ["g-w-1", "g-w-2"]}},
    }
    assert to_v1beta1(alpha) == beta


def test_status_fields_that_v1alpha1_lacks_come_back() -> None:
    status = {
        "placement": {"score": 1, "state": "Reported"},
        "components": {"w": {**REPLICAS, "gpusPerEngine": 2, "servedModelName": "m"}},
    }
    alpha = to_v1alpha1({**beta_graph({"name": "w"}), "status": status})

    assert alpha["status"] == {"services": {"w": {**REPLICAS, "componentName": ""}}}
    assert to_v1beta1(alpha)["status"] == status


@pytest.mark.parametrize(
    "names",
    [
        pytest.param({"componentName": "only"}, id="only-the-single-name"),
        pytest.param({"componentName": "old", "componentNames": ["a", "b"]}, id="another-single-name"),
        pytest.param({}, id="no-name"),
    ],
)
def test_deprecated_name_of_a_v1alpha1_status_comes_back(names: dict[str, Any]) -> None:
    alpha = {**alpha_graph(w={"replicas": 1}), "status": {"services": {"w": {**REPLICAS, **names}}}}
    back = to_v1alpha1(to_v1beta1(alpha))["status"]["services"]["w"]

    assert back == {"componentName": "", **REPLICAS, **names}


def test_name_reported_through_v1beta1_wins_over_the_kept_one() -> None:
    beta = to_v1beta1({**alpha_graph(w={}), "status": {"services": {"w": {**REPLICAS, "componentName": "old"}}}})
    assert PAYLOADS[1] in beta["metadata"]["annotations"]
    beta["status"]["components"]["w"]["componentNames"] = ["new"]

    assert to_v1alpha1(beta)["status"]["services"]["w"]["componentName"] == "new"


def test_component_status_is_said_in_both_versions() -> None:
    alpha = single(
        V1ALPHA1,
        {"serviceName": "w"},
        status={
            "observedGeneration": 1,
            "podSelector": {"a": "b"},
            "service": {**REPLICAS, "componentName": "d", "componentNames": ["d"]},
        },
    )
    beta = to_v1beta1(alpha)

    assert beta["status"] == {"observedGeneration": 1, "component": {**REPLICAS, "componentNames": ["d"]}}
    assert to_v1alpha1(beta) == alpha
