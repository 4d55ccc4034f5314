from __future__ import annotations

from typing import Any

import pytest

from dynamo_operator.api import parse_graph
from dynamo_operator.convert import to_v1beta1
from dynamo_operator.lint import is_judged, lint_manifest
from dynamo_operator.lint.manifest import alpha_path
from dynamo_operator.validate import Context


def a_graph(*components: dict[str, Any], **metadata: Any) -> dict[str, Any]:
    parts = components or (a_worker(),)
    return {
        "apiVersion": "nvidia.com/v1beta1",
        "kind": "DynamoGraphDeployment",
        "metadata": {"name": "agg", **metadata},
        "spec": {"components": list(parts)},
    }


def a_worker(name: str = "decode", *args: str, **fields: Any) -> dict[str, Any]:
    main = {"name": "main", "image": "dynamo:1.5.0", "args": ["-m", "dynamo.mocker", *args]}
    return {"name": name, "type": "worker", "podTemplate": {"spec": {"containers": [main]}}, **fields}


def rules(manifest: dict[str, Any], context: Context | None = None) -> set[tuple[str, str, bool]]:
    return {(each.rule, each.path, each.is_error) for each in lint_manifest(manifest, context or Context())}


def test_a_good_graph_has_no_findings() -> None:
    assert lint_manifest(a_graph(), Context()) == ()


def test_every_violation_of_admission_is_an_error_with_found_and_allowed() -> None:
    found = lint_manifest(a_graph(a_worker(replicas=-1, type="wroker")), Context())

    assert {each.path for each in found} == {"spec.components[0].replicas", "spec.components[0].type"}
    assert all(each.rule == "admission" and each.is_error and each.allowed for each in found)
    assert next(each for each in found if each.path.endswith("type")).nearest == "worker"


def test_contracts_between_components_are_looked_at_once_admission_is_content() -> None:
    sizes = (a_worker("a", "--block-size", "16"), a_worker("b", "--block-size", "64"))
    path = "spec.components[1].podTemplate.spec.containers[0].args"

    assert ("block-size", path, True) in rules(a_graph(*sizes))


def test_what_admission_lets_through_and_rendering_does_not_is_found() -> None:
    annotated = a_worker()
    annotated["podTemplate"]["metadata"] = {"annotations": {"nvidia.com/deployment-strategy": "BlueGreen"}}

    found = rules(a_graph(annotated))

    assert ("render", "spec.components[0]", True) in found or any(
        rule == "admission" and "deployment-strategy" in path for rule, path, _ in found
    )


def test_a_deprecated_field_is_a_warning_at_its_place() -> None:
    alpha = {
        "apiVersion": "nvidia.com/v1alpha1",
        "kind": "DynamoGraphDeployment",
        "metadata": {"name": "agg"},
        "spec": {
            "services": {
                "decode": {
                    "componentType": "worker",
                    "autoscaling": {"enabled": True},
                    "extraPodSpec": {"mainContainer": {"image": "dynamo:1.5.0"}},
                }
            }
        },
    }

    assert ("deprecation", "spec.services[decode].autoscaling", False) in rules(alpha)


@pytest.mark.parametrize(
    ("path", "there"),
    [
        (
            "spec.components[0].podTemplate.spec.containers[0].args",
            "spec.services[decode].extraPodSpec.mainContainer.args",
        ),
        (
            "spec.components[0].podTemplate.spec.containers[0].resources.limits",
            "spec.services[decode].resources.limits",
        ),
        ("spec.components[0].podTemplate.spec.containers[0].env", "spec.services[decode].envs"),
        ("spec.components[0].type", "spec.services[decode].componentType"),
        ("metadata.annotations", "metadata.annotations"),
    ],
)
def test_a_finding_of_an_older_manifest_leads_to_its_own_field(path: str, there: str) -> None:
    assert alpha_path(path, parse_graph(to_v1beta1(a_graph()))) == there


@pytest.mark.parametrize(
    ("manifest", "judged"),
    [
        pytest.param({"apiVersion": "nvidia.com/v1beta1", "kind": "Dynamo"}, True, id="unknown-kind-of-our-group"),
        pytest.param({"apiVersion": "v1", "kind": "DynamoGraphDeployment"}, True, id="our-kind-in-a-wrong-group"),
        pytest.param({"apiVersion": "v1", "kind": "ConfigMap"}, False, id="not-ours"),
        pytest.param({"replicas": 2}, False, id="no-manifest-at-all"),
    ],
)
def test_only_what_seems_meant_for_us_is_judged(manifest: dict[str, Any], judged: bool) -> None:
    assert is_judged(manifest) is judged


@pytest.mark.parametrize("kind", ["DynamoGraphDeploymentRequest", "DynamoCheckpoint"])
def test_upstreams_kinds_that_are_not_served_are_told_apart_from_typos(kind: str) -> None:
    (found,) = lint_manifest({**a_graph(), "kind": kind}, Context())

    assert (found.path, found.message, found.nearest) == ("kind", "is not served by this operator", "")
