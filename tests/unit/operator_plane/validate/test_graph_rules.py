"""Rules of whole manifests: a valid one with one thing wrong gives one violation, and all are given at once."""

from __future__ import annotations

from typing import Any

import pytest

from dynamo_operator.validate import Context, validate
from tests.unit.operator_plane.validate.cases import Row, alpha, assert_only_violation, beta, wrong
from tests.unit.operator_plane.validate.manifests import (
    MAIN,
    a_component,
    a_container,
    a_graph,
    a_model,
    a_standalone,
    an_alpha_graph,
    an_alpha_service,
    with_,
)
from tests.unit.operator_plane.validate.reference_rows import an_alpha_standalone

WORKER = "spec.components[1]"
POD = f"{WORKER}.podTemplate.spec"
GROVE = Context(has_grove=True)


@pytest.mark.parametrize(
    "row",
    [
        wrong("kind-unknown", beta("kind", "DynamoGraph"), "kind", '"DynamoGraph"', "DynamoModel"),
        wrong("field-in-pod-spec", beta(f"{POD}.volums", []), f"{POD}.volums", '"volums"', ""),
        wrong("field-in-container", beta(f"{MAIN}.cmd", []), f"{MAIN}.cmd", '"cmd"', "command"),
        wrong("field-in-metadata", beta("metadata.label", {}), "metadata.label", '"label"', ""),
        wrong("top-level-field", beta("specs", {}), "specs", '"specs"', "apiVersion, kind, metadata, spec, status"),
        wrong("namespace", beta("metadata.namespace", "My_Shop"), "metadata.namespace", '"My_Shop"', "a-z"),
        wrong(
            "leading-zero",
            beta("metadata.annotations", {"nvidia.com/dynamo-operator-origin-version": "01.2.3"}),
            "metadata.annotations[nvidia.com/dynamo-operator-origin-version]",
            '"01.2.3"',
            "X.Y.Z",
        ),
        wrong(
            "main-misspelt", beta(f"{POD}.containers", [a_container(name="mian")]), f"{POD}.containers", "mian", "main"
        ),
        wrong(
            "checkpoint-of-two-sources-even-switched-off",
            beta(f"{WORKER}.experimental", {"checkpoint": {"enabled": False, "checkpointRef": "a", "job": {}}}),
            f"{WORKER}.experimental.checkpoint",
            "an object of 3 fields",
            "one of job, checkpointRef",
        ),
        wrong("name-upper-case", beta("metadata.name", "Graph"), "metadata.name", '"Graph"', "a-z"),
        wrong("name-starts-with-digit", beta("metadata.name", "1g"), "metadata.name", '"1g"', "starts with a letter"),
        wrong("label-value", beta("metadata.labels", {"a": "b c"}), "metadata.labels[a]", '"b c"', "up to 63"),
        wrong("label-key", beta("spec.labels", {"a b": "c"}), "spec.labels[a b]", '"a b"', "name or prefix/name"),
        wrong("priority-class", beta("spec.priorityClassName", "high"), "spec.priorityClassName", '"high"', "nothing"),
        wrong(
            "grove-name-too-long",
            a_graph(a_component("f" * 38, "frontend"), name="g" * 10),
            "spec.components[0].name",
            f'"{"f" * 38}"',
            "at most 37",
            GROVE,
        ),
        wrong(
            "grove-name-of-a-group-too-long",
            a_graph(a_component("d" * 17, multinode={"nodeCount": 2}), name="g" * 10),
            "spec.components[0].name",
            f'"{"d" * 17}"',
            "at most 37",
            GROVE,
        ),
        wrong(
            "grove-name-of-a-forced-group-too-long",
            a_graph(a_component("d" * 19, experimental={"grove": {"forceScalingGroup": True}}), name="g" * 10),
            "spec.components[0].name",
            f'"{"d" * 19}"',
            "at most 37",
            GROVE,
        ),
        wrong(
            "leader-worker-set-name-too-long",
            a_graph(a_component("decode-two", multinode={"nodeCount": 2}), name="g" * 28),
            "spec.components[0].name",
            '"decode-two"',
            "at most 49",
            Context(has_leader_worker_sets=True),
        ),
        wrong(
            "namespace-and-name-too-long",
            a_graph(a_component("f", "frontend"), name="g" * 50),
            "metadata.name",
            '"' + "g" * 50 + '"',
            "at most 48",
            Context(namespace="fourteen-chars"),
        ),
        wrong(
            "component-topology-without-graph's",
            beta(f"{WORKER}.topologyConstraint", {"packDomain": "rack"}),
            f"{WORKER}.topologyConstraint",
            "an object of 1 field",
            "spec.topologyConstraint",
            GROVE,
        ),
        wrong(
            "topology-unknown",
            beta("spec.topologyConstraint", {"clusterTopologyName": "t", "packDomain": "rack"}),
            "spec.topologyConstraint.clusterTopologyName",
            '"t"',
            "dc",
            Context(has_grove=True, cluster_topologies=(("dc", ("zone", "rack")),)),
        ),
        wrong(
            "component-topology-wider-than-graph's",
            with_(
                beta("spec.topologyConstraint", {"clusterTopologyName": "dc", "packDomain": "rack"}),
                f"{WORKER}.topologyConstraint",
                {"packDomain": "zone"},
            ),
            f"{WORKER}.topologyConstraint.packDomain",
            '"zone"',
            "rack, host",
            Context(has_grove=True, cluster_topologies=(("dc", ("zone", "rack", "host")),)),
        ),
        wrong(
            "kv-transfer-two-selectors",
            beta("spec.experimental.kvTransferPolicy", {"labelKey": "a", "clusterTopologyName": "t", "domain": "rack"}),
            "spec.experimental.kvTransferPolicy",
            "labelKey, clusterTopologyName",
            "one of",
            GROVE,
        ),
        wrong(
            "kv-transfer",
            beta("spec.experimental.kvTransferPolicy", {"labelKey": "a", "domain": "rack"}),
            "spec.experimental.kvTransferPolicy",
            "an object of 2 fields",
            "nothing",
        ),
        wrong(
            "kv-transfer-preferred-without-weight",
            beta("spec.experimental.kvTransferPolicy", {"labelKey": "a", "domain": "rack", "enforcement": "preferred"}),
            "spec.experimental.kvTransferPolicy.preferredWeight",
            "nothing",
            "0 to 1",
        ),
        wrong(
            "kv-transfer-weight-without-preferred",
            beta("spec.experimental.kvTransferPolicy", {"labelKey": "a", "domain": "rack", "preferredWeight": 0.5}),
            "spec.experimental.kvTransferPolicy.preferredWeight",
            "0.5",
            "nothing",
        ),
        wrong(
            "executor-annotation",
            beta("metadata.annotations", {"nvidia.com/vllm-distributed-executor-backend": "rey"}),
            "metadata.annotations[nvidia.com/vllm-distributed-executor-backend]",
            '"rey"',
            "mp, ray",
        ),
        wrong(
            "origin-version-annotation",
            beta("metadata.annotations", {"nvidia.com/dynamo-operator-origin-version": "new"}),
            "metadata.annotations[nvidia.com/dynamo-operator-origin-version]",
            '"new"',
            "X.Y.Z",
        ),
        wrong(
            "standalone-min-available",
            with_(a_standalone(), "spec.minAvailable", 1),
            "spec.minAvailable",
            "1",
            "nothing on the component pathway",
        ),
        wrong(
            "standalone-name-too-long",
            with_(a_standalone(), "metadata.name", "g" * 64),
            "metadata.name",
            '"' + "g" * 58 + "…",
            "at most 63",
        ),
        wrong(
            "priority-class-of-no-possible-name",
            beta("spec.priorityClassName", "High_One"),
            "spec.priorityClassName",
            '"High_One"',
            "a-z",
            Context(has_grove=True),
        ),
        wrong(
            "claim-that-holds-nothing",
            alpha(
                "spec.pvcs",
                [{"name": "c", "create": True, "size": 0, "storageClass": "s", "volumeAccessMode": "ReadWriteOnce"}],
            ),
            "spec.pvcs[0].size",
            "0",
            "greater than 0",
        ),
        wrong(
            "model-source-that-names-nothing",
            a_model(modelType="lora", source={"uri": "hf://"}),
            "spec.source.uri",
            '"hf://"',
            "hf://",
        ),
        wrong(
            "service-name-too-long",
            with_(an_alpha_graph(), f"spec.services[{'w' * 64}]", an_alpha_service()),
            f"spec.services[{'w' * 64}]",
            "w",
            "at most 63",
        ),
        wrong(
            "service-name-too-long-for-grove",
            with_(an_alpha_graph(), f"spec.services[{'w' * 64}]", an_alpha_service()),
            f"spec.services[{'w' * 64}]",
            "w",
            "Grove's pod names fit",
            Context(has_grove=True),
        ),
        wrong(
            "standalone-service-name",
            an_alpha_standalone(serviceName="my_worker"),
            "spec.serviceName",
            '"my_worker"',
            "inner '-'",
        ),
        wrong(
            "standalone-service-name-too-long",
            an_alpha_standalone(serviceName="w" * 64),
            "spec.serviceName",
            "w",
            "1 to 63",
        ),
        wrong("model-name-empty", a_model(modelName=""), "spec.modelName", '""', "at least 1"),
        wrong(
            "model-source-keeps-its-secret",
            a_model(modelType="lora", source={"uri": "https://user:password@x/y"}),
            "spec.source.uri",
            '"https://…"',
            "s3://, hf://, file:///",
        ),
    ],
)
def test_one_wrong_thing_gives_one_violation(row: Row) -> None:
    assert_only_violation(*row)


def test_all_violations_are_reported_at_once() -> None:
    manifest = beta("spec.backendFramework", "vLLM")
    manifest = with_(with_(manifest, f"{WORKER}.replicas", -1), f"{MAIN}.image", None)
    paths = {violation.path for violation in validate(manifest)}
    assert paths == {"spec.backendFramework", f"{WORKER}.replicas", f"{MAIN}.image"}


def test_a_violation_prints_as_one_line_with_the_nearest_name() -> None:
    (violation,) = validate(beta(f"{WORKER}.type", "wrker"))
    assert str(violation) == (
        'spec.components[1].type: unsupported value (found "wrker", allowed: frontend, worker, prefill, decode, '
        "planner, epp); did you mean worker?"
    )


def test_two_components_may_not_share_a_name_in_another_case() -> None:
    (violation,) = validate(beta(f"{WORKER}.name", "FRONTEND"))
    assert violation.path == f"{WORKER}.name"
    assert "spec.components[0]" in violation.message


def test_services_may_not_share_a_name_in_another_case() -> None:
    (violation,) = validate(alpha("spec.services[FRONTEND]", an_alpha_service()))
    assert violation.path == "spec.services[FRONTEND]"
    assert "spec.services[Frontend]" in violation.message


def test_an_unknown_v1alpha1_type_is_refused() -> None:
    (violation,) = validate(alpha("spec.services[decode].componentType", "workr"))
    assert (violation.path, violation.nearest) == ("spec.services[decode].componentType", "worker")


def test_every_container_of_v1alpha1_needs_an_image() -> None:
    sidecars = {"containers": [{"name": "side"}], "initContainers": [{"name": "first"}]}
    manifest = alpha("spec.services[decode].extraPodSpec", {**sidecars, "mainContainer": {}})
    pod = "spec.services[decode].extraPodSpec"
    assert {violation.path for violation in validate(manifest)} == {
        f"{pod}.mainContainer.image",
        f"{pod}.containers[0].image",
        f"{pod}.initContainers[0].image",
    }


def test_a_standalone_component_has_no_memory_service_across_pods() -> None:
    template = {"spec": {"containers": [a_container(resources={"limits": {"nvidia.com/gpu": 1}})]}}
    manifest = a_standalone(podTemplate=template, experimental={"gpuMemoryService": {"mode": "InterPod"}})
    assert [violation.path for violation in validate(manifest)] == ["spec.experimental.gpuMemoryService.mode"]


def test_an_image_digest_or_registry_port_is_no_version() -> None:
    for image in ("registry:1500/runtime", f"r/runtime@sha256:{'1' * 64}"):
        (violation,) = validate(beta(f"{MAIN}.image", image))
        assert violation.path == f"{WORKER}.runtimeVersionOverride"


@pytest.mark.parametrize("image", ["r/runtime:v1.5.0", "r:5000/x/runtime:1.3.0-efa", f"r/x:1.5.0@sha256:{'ab' * 32}"])
def test_a_version_in_the_tag_is_found(image: str) -> None:
    assert validate(beta(f"{MAIN}.image", image)) == ()


def test_a_standalone_component_needs_no_version() -> None:
    assert validate(with_(a_standalone(), "spec.podTemplate.spec.containers[0].image", "r/x:latest")) == ()


def test_the_beginning_of_a_name_to_be_made_has_a_names_form() -> None:
    made = {**a_graph(), "metadata": {"generateName": "g-"}}
    assert validate(made) == ()
    (violation,) = validate({**made, "metadata": {"generateName": "G_"}})
    assert (violation.path, violation.found) == ("metadata.generateName", '"G_"')


@pytest.mark.parametrize("name", ["", "w" * 63, "Decode-1"])
def test_a_standalone_service_may_have_a_components_name_or_none(name: str) -> None:
    assert validate(an_alpha_standalone(serviceName=name)) == ()


def test_a_null_field_is_an_absent_field() -> None:
    assert validate(beta(f"{MAIN}.env", None)) == ()
    assert validate(alpha("spec.services[none]", None)) == ()


def test_grove_fields_are_accepted_with_grove() -> None:
    manifest = with_(a_graph(priorityClassName="high"), f"{WORKER}.minAvailable", 1)
    assert validate(manifest, GROVE) == ()
    switched_off = with_(manifest, "metadata.annotations", {"nvidia.com/enable-grove": "false"})
    assert {violation.path for violation in validate(switched_off, GROVE)} == {
        "spec.priorityClassName",
        f"{WORKER}.minAvailable",
    }


@pytest.mark.parametrize(
    ("graph", "component"),
    [
        pytest.param("g" * 40, a_component("Frontend", "frontend"), id="the-set's-name-is-cut"),
        pytest.param("g", a_component("f" * 44, "frontend"), id="a-short-graph-leaves-more"),
        pytest.param("g" * 10, a_component("d" * 16, multinode={"nodeCount": 2}), id="a-group"),
    ],
)
def test_names_that_grove_can_take_after_cutting_the_graphs_are_admitted(graph: str, component: dict[str, Any]) -> None:
    assert validate(a_graph(component, name=graph), Context(has_grove=True, namespace="n")) == ()


def test_a_provider_that_is_not_there_is_refused_by_name() -> None:
    key = "nvidia.com/workload-provider"
    (violation,) = validate(with_(a_graph(), "metadata.annotations", {key: "disaggregatedset"}))
    assert violation.path == f"metadata.annotations[{key}]"
    assert "component, grove" in str(violation)


def test_a_graph_for_grove_is_refused_where_grove_is_not() -> None:
    key = "nvidia.com/workload-provider"
    exported = with_(a_graph(priorityClassName="high"), "metadata.annotations", {key: "grove"})
    assert_only_violation(exported, f"metadata.annotations[{key}]", '"grove"', "component, or nothing", None)
    assert validate(exported, GROVE) == ()
    assert validate(with_(a_graph(), "metadata.annotations", {key: "component"}), GROVE) == ()
