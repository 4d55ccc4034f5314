"""Manifests that upstream accepts are accepted; those that it refuses are refused for the same field."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from dynamo_operator.convert import to_v1alpha1, to_v1beta1
from dynamo_operator.validate import Context, Violation, load_crds, validate
from tests.shared import SHARED

Convert = Callable[[Mapping[str, Any]], Mapping[str, Any]]

CORPUS = SHARED / "corpus"
CONTEXTS = {
    "component": Context(),
    "lws": Context(has_leader_worker_sets=True),
    "grove": Context(has_grove=True),
    "gaie": Context(has_inference_pools=True),
}
# Upstream admits this one, and its graph then fails: a v1alpha1 type that no v1beta1 type stands for.
ADMITTED_AND_FAILING = "extra/v1alpha1/main-and-default-types.yaml"
# A kind that is not served yet.
REQUEST = "DynamoGraphDeploymentRequest"


def documents(path: Path) -> list[dict[str, Any]]:
    """The documents of group nvidia.com, with the image placeholder replaced as upstream's run did."""
    text = path.read_text().replace(":my-tag", ":1.5.0")
    loaded = [document for document in yaml.safe_load_all(text) if isinstance(document, dict)]
    return [document for document in loaded if str(document.get("apiVersion")).startswith("nvidia.com/")]


def outcomes(suffix: str) -> list[Any]:
    found = []
    for pathway in CONTEXTS:
        folder = CORPUS / "rendered" / pathway
        for path in sorted(folder.rglob(f"*{suffix}")):
            name = str(path.relative_to(folder)).removesuffix(suffix)
            found.append(pytest.param(pathway, name, id=f"{pathway}-{name}"))
    return found


def check(pathway: str, name: str) -> list[Violation]:
    found: list[Violation] = []
    for document in documents(CORPUS / name):
        if document["kind"] != REQUEST:
            found += validate(document, CONTEXTS[pathway])
    return found


@pytest.mark.parametrize(("pathway", "name"), outcomes(".objects.yaml"))
def test_what_upstream_renders_is_accepted(pathway: str, name: str) -> None:
    violations = check(pathway, name)
    if name == ADMITTED_AND_FAILING:
        assert [violation.path for violation in violations] == ["spec.services[Frontend].componentType"]
    else:
        assert not violations, [str(violation) for violation in violations]


# manifest -> the fields that upstream's answer names; v1alpha1 fields keep their own paths here.
REFUSED_FIELDS = {
    "nvidia.com_v1alpha1_dynamocomponentrequest.yaml": {"kind"},
    "nvidia.com_v1alpha1_dynamocheckpoint.yaml": {"kind"},
    "nvidia.com_v1alpha_dynamocomponent.yaml": {"kind"},
    "nvidia.com_v1alpha1_dynamocomponentdeployment.yaml": {"spec.extraPodSpec.mainContainer.image"},
    "nvidia.com_v1alpha1_dynamographdeployment.yaml": {"spec.services"},
    "dgd-gms-failover.yaml": {"spec.components[0].experimental.gpuMemoryService.mode"},
    "power-aware-budget/dgd.yaml": {f"spec.components[{i}].podTemplate.spec.containers[0].image" for i in range(3)},
    "global-planner-vllm-test-xpu-dra.yaml": {"spec.components[0].runtimeVersionOverride"},
    "global-planner-mocker-test.yaml": {"spec.components[0].runtimeVersionOverride"},
    "global-planner-gpu-budget.yaml": {"spec.components[0].runtimeVersionOverride"},
    "global-planner-vllm-test.yaml": {"spec.components[0].runtimeVersionOverride"},
    "snapshot-restore.yaml": {"spec.components[1].experimental.checkpoint"},
    "gaie/agg.yaml": {"spec.components[0].type"},
    "gaie/disagg.yaml": {"spec.components[0].type"},
    "vllm/deploy/gms-failover.yaml": {
        "spec.components[0].runtimeVersionOverride",
        "spec.components[1].runtimeVersionOverride",
    },
}


@pytest.mark.parametrize(("pathway", "name"), outcomes(".refused.txt"))
def test_what_upstream_refuses_is_refused_for_the_same_fields(pathway: str, name: str) -> None:
    expected = next(fields for ending, fields in REFUSED_FIELDS.items() if name.endswith(ending))
    assert expected <= {violation.path for violation in check(pathway, name)}


def stored_objects() -> list[Any]:
    """Objects as an API server with upstream's operator stores them, in both versions."""
    found = []
    for folder in ("rendered", "converted", "live"):
        for path in sorted((CORPUS / folder).rglob("*.yaml")):
            if ADMITTED_AND_FAILING not in str(path):
                found.append(pytest.param(path, id=str(path.relative_to(CORPUS))))
    return found


def stored_documents(path: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for document in yaml.safe_load_all(path.read_text()):
        if "applied" in document:
            found += [document["v1alpha1"], document["v1beta1"]]
        elif document.get("kind") == "List":
            found += document["items"]
        else:
            found.append(document)
    return [document for document in found if document.get("kind") in load_crds()]


@pytest.mark.parametrize("path", stored_objects())
def test_what_upstreams_operator_stores_is_accepted(path: Path) -> None:
    context = Context(
        has_grove="grove" in path.parts, has_leader_worker_sets=True, has_inference_pools=True, namespace="n"
    )
    for document in stored_documents(path):
        for owner in document["metadata"].get("ownerReferences", []):
            owner.setdefault("uid", "removed-from-the-corpus")
        violations = validate(document, context)
        assert not violations, [document["metadata"]["name"], *map(str, violations)]


@pytest.mark.parametrize("convert", [to_v1alpha1, to_v1beta1])
@pytest.mark.parametrize(("pathway", "name"), outcomes(".objects.yaml"))
def test_what_is_accepted_stays_acceptable_after_conversion(pathway: str, name: str, convert: Convert) -> None:
    if name == ADMITTED_AND_FAILING:
        pytest.skip("refused before conversion")
    for document in documents(CORPUS / name):
        if document["kind"] in ("DynamoGraphDeployment", "DynamoComponentDeployment"):
            assert validate(convert(document), CONTEXTS[pathway]) == ()
