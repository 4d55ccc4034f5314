"""The CRDs themselves: structural schemas, one wording in both places, and a Python rule for each CEL rule."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from dynamo_operator.validate import Crd, load_crds, validate, validate_update
from dynamo_operator.validate.structure import CORE_FIELDS
from tests.unit.operator_plane.validate.manifests import a_component, a_graph, a_model, an_alpha_graph, with_

PLURALS = {
    "DynamoGraphDeployment": ("dynamographdeployments", "dgd"),
    "DynamoComponentDeployment": ("dynamocomponentdeployments", "dcd"),
    "DynamoGraphDeploymentScalingAdapter": ("dynamographdeploymentscalingadapters", "dgdsa"),
    "DynamoModel": ("dynamomodels", "dm"),
    "DynamoWorkerMetadata": ("dynamoworkermetadatas", "dwm"),
}
TWO_VERSIONS = ["DynamoGraphDeployment", "DynamoComponentDeployment", "DynamoGraphDeploymentScalingAdapter"]
# What apiextensions/v1 refuses in a structural schema.
FORBIDDEN = {"$ref", "definitions", "dependencies", "patternProperties", "additionalItems", "uniqueItems", "deprecated"}

crds = pytest.mark.parametrize("crd", [pytest.param(crd, id=kind) for kind, crd in load_crds().items()])


def nodes(schema: dict[str, Any], path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    yield path, schema
    for name, inner in schema.get("properties", {}).items():
        yield from nodes(inner, f"{path}.{name}")
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), dict):
            yield from nodes(schema[key], f"{path}[{key}]")


def all_nodes(crd: Crd) -> Iterator[tuple[str, dict[str, Any]]]:
    for version in crd.document["spec"]["versions"]:
        yield from nodes(version["schema"]["openAPIV3Schema"], version["name"])


def test_all_kinds_have_their_plural_and_short_name() -> None:
    found = {kind: (crd.plural, crd.document["spec"]["names"]["shortNames"][0]) for kind, crd in load_crds().items()}
    assert found == PLURALS


@crds
def test_schemas_are_structural(crd: Crd) -> None:
    for path, schema in all_nodes(crd):
        assert "type" in schema or schema.get("x-kubernetes-int-or-string"), path
        assert not FORBIDDEN & set(schema), path
        assert not ("properties" in schema and "additionalProperties" in schema), path
        if schema.get("type") == "array":
            assert "items" in schema, path
        assert set(schema.get("required", ())) <= set(schema.get("properties", {})), path
        for key in schema.get("x-kubernetes-list-map-keys", ()):
            assert key in schema["items"]["required"], path
        if "default" in schema and "enum" in schema:
            assert schema["default"] in schema["enum"], path


@crds
def test_every_cel_rule_has_a_message(crd: Crd) -> None:
    for path, schema in all_nodes(crd):
        assert all(rule.get("message") for rule in schema.get("x-kubernetes-validations", ())), path


@crds
def test_opaque_fields_are_core_types_or_free(crd: Crd) -> None:
    """An opaque field whose content is known must be checked against it, or a typo in it would vanish."""
    free = {"value", "data", "config", "plugins", "schedulingProfiles", "metrics", "behavior", "identity"}
    for path, schema in all_nodes(crd):
        name = path.rpartition(".")[2].removesuffix("[items]")
        if schema.get("x-kubernetes-preserve-unknown-fields"):
            assert name in free | set(CORE_FIELDS), path


@crds
def test_exactly_the_newest_version_is_stored_and_the_other_deprecated(crd: Crd) -> None:
    versions = crd.document["spec"]["versions"]
    assert [version["storage"] for version in versions] == [True] + [False] * (len(versions) - 1)
    assert all(version["served"] for version in versions)
    expected = ["v1beta1", "v1alpha1"] if crd.kind in TWO_VERSIONS else ["v1alpha1"]
    assert [version["name"] for version in versions] == expected
    if len(versions) == 2:
        assert versions[1]["deprecated"]
        assert crd.kind in versions[1]["deprecationWarning"]
        assert crd.document["spec"]["conversion"]["webhook"]["clientConfig"]["service"]["path"] == "/convert"


@crds
def test_crds_survive_an_uninstall(crd: Crd) -> None:
    assert crd.document["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}


def test_adapters_have_a_scale_subresource_in_both_versions() -> None:
    for version in load_crds()["DynamoGraphDeploymentScalingAdapter"].document["spec"]["versions"]:
        assert version["subresources"]["scale"] == {
            "specReplicasPath": ".spec.replicas",
            "statusReplicasPath": ".status.replicas",
            "labelSelectorPath": ".status.selector",
        }


@pytest.mark.parametrize("version", ["nvidia.com/v1beta1", "nvidia.com/v1alpha1"])
def test_a_component_has_the_same_fields_in_a_graph_and_on_its_own(version: str) -> None:
    graph = load_crds()["DynamoGraphDeployment"].versions[version].schema["properties"]["spec"]["properties"]
    own = dict(load_crds()["DynamoComponentDeployment"].versions[version].schema["properties"]["spec"]["properties"])
    for only_here in ("backendFramework", "dynamoComponent", "dynamoTag"):
        own.pop(only_here, None)
    inside = graph["components"]["items"] if "components" in graph else graph["services"]["additionalProperties"]
    assert own == inside["properties"]


@pytest.mark.parametrize("kind", ["DynamoGraphDeployment", "DynamoComponentDeployment"])
def test_v1alpha1_has_none_of_the_fields_that_came_with_v1beta1(kind: str) -> None:
    newer = ["grove", "leader", "placement", "gpusPerEngine", "gpusPerReplica", "servedModelName"]
    newer += ["runtimeComponentName", "gpuPowerLimitWatts"]
    schema = load_crds()[kind].versions["nvidia.com/v1alpha1"].schema
    names = {path.rpartition(".")[2] for path, _ in nodes(schema, "")}
    assert names & set(newer) == set()


WORKER = "spec.components[1]"
DECODE = "spec.services[decode]"
EPP_CONFIG = {"configMapRef": {"key": "k", "name": "n"}}


def broken(path: str, value: object) -> dict[str, Any]:
    return with_(a_graph(), path, value)


def changed(path: str, old: object, new: object) -> tuple[dict[str, Any], dict[str, Any]]:
    return broken(path, old), broken(path, new)


RACK = {"packDomain": "rack"}
# The message of each CEL rule -> a manifest, or an old and a new one, that break it.
CEL_CASES: dict[str, dict[str, Any] | tuple[dict[str, Any], dict[str, Any]]] = {
    "minAvailable must be less than or equal to replicas unless replicas is 0": broken(f"{WORKER}.minAvailable", 2),
    "minAvailable is immutable": changed(f"{WORKER}.minAvailable", 1, 2),
    "eppConfig is only for type epp": broken(f"{WORKER}.eppConfig", EPP_CONFIG),
    "type is immutable once set": changed(f"{WORKER}.type", "worker", "decode"),
    "a component cannot change between single-node and multinode": changed(f"{WORKER}.multinode", None, {}),
    "topologyConstraint is immutable": changed(f"{WORKER}.topologyConstraint", RACK, None),
    "exactly one of configMapRef and config is required": a_graph(a_component("epp", "epp", eppConfig={})),
    "extraClientContainers requires mode IntraPod": broken(
        f"{WORKER}.experimental", {"gpuMemoryService": {"mode": "InterPod", "extraClientContainers": ["main"]}}
    ),
    "extraClientContainers requires mode intraPod": with_(
        an_alpha_graph(),
        f"{DECODE}.gpuMemoryService",
        {"enabled": True, "mode": "interPod", "extraClientContainers": ["main"]},
    ),
    "job and checkpointRef are mutually exclusive": broken(
        f"{WORKER}.experimental", {"checkpoint": {"enabled": True, "job": {}, "checkpointRef": "c"}}
    ),
    "component names must be unique case-insensitively": broken(f"{WORKER}.name", "frontend"),
    "at most one component may have type epp": a_graph(a_component("a", "epp"), a_component("b", "epp")),
    "spec.restart must be unset on create; set spec.restart.id after creation to request a restart": a_graph(
        restart={"id": "1"}
    ),
    "backendFramework is immutable once set": changed("spec.backendFramework", "vllm", "sglang"),
    "exactly one of labelKey and clusterTopologyName is required": a_graph(
        experimental={"kvTransferPolicy": {"domain": "rack"}}
    ),
    "preferredWeight is required when enforcement is preferred and not allowed otherwise": a_graph(
        experimental={"kvTransferPolicy": {"labelKey": "a", "domain": "rack", "enforcement": "preferred"}}
    ),
    "mountPoint is required unless useAsCompilationCache is true": with_(
        an_alpha_graph(), f"{DECODE}.volumeMounts", [{"name": "a"}]
    ),
    "a size greater than 0 is required unless disabled is true": with_(
        an_alpha_graph(), f"{DECODE}.sharedMemory", {"size": "0"}
    ),
    "when create is true, size, storageClass and volumeAccessMode are required": an_alpha_graph(
        pvcs=[{"name": "a", "create": True}]
    ),
    "source is required when modelType is lora": a_model(modelType="lora"),
    "source.uri must start with s3://, hf:// or file:///": a_model(modelType="lora", source={"uri": "http://a"}),
    "modelType is immutable": (a_model(modelType="base"), a_model(modelType="adapter")),
    "baseModelName is immutable": (a_model(baseModelName="a"), a_model(baseModelName="b")),
}


def test_each_cel_rule_has_a_case() -> None:
    messages = {
        rule["message"]
        for crd in load_crds().values()
        for _, schema in all_nodes(crd)
        for rule in schema.get("x-kubernetes-validations", ())
    }
    assert messages == set(CEL_CASES)


@pytest.mark.parametrize("case", [pytest.param(case, id=message) for message, case in CEL_CASES.items()])
def test_each_cel_rule_is_kept_before_an_api_server_sees_it(case: Any) -> None:
    assert validate_update(*case) if isinstance(case, tuple) else validate(case)
