"""Rules of components: a valid manifest with one thing wrong gives one violation."""

from __future__ import annotations

from typing import Any

import pytest

from dynamo_operator.validate import Context, validate
from tests.unit.operator_plane.validate.cases import Row, alpha, assert_only_violation, beta, wrong
from tests.unit.operator_plane.validate.manifests import (
    DECODE,
    IMAGE,
    MAIN,
    a_graph,
    a_standalone,
    an_alpha_graph,
    an_alpha_service,
    with_,
)

WORKER = "spec.components[1]"
STRATEGY = "nvidia.com/deployment-strategy"
SURGE = "nvidia.com/deployment-rolling-update-max-surge"
UNAVAILABLE = "nvidia.com/deployment-rolling-update-max-unavailable"
TWICE = [{"name": "A", "value": "1"}, {"name": "A", "value": "2"}]


@pytest.mark.parametrize(
    "row",
    [
        wrong(
            "engine-other-than-stated",
            with_(beta(f"{MAIN}.command", ["python3", "-m", "dynamo.vllm"]), "spec.backendFramework", "sglang"),
            f"{MAIN}.command",
            "dynamo.vllm",
            "dynamo.sglang",
        ),
        wrong(
            "two-engines-in-one-script",
            beta(f"{MAIN}.args", ["python3 -m dynamo.vllm & python3 -m dynamo.trtllm"]),
            f"{MAIN}.args",
            "dynamo.vllm, dynamo.trtllm",
            "one engine, or spec.backendFramework",
        ),
        wrong(
            "tag-with-a-leading-zero",
            beta(f"{MAIN}.image", "runtime:01.5.0"),
            f"{WORKER}.runtimeVersionOverride",
            'image "runtime:01.5.0"',
            "X.Y.Z here",
        ),
        wrong(
            "nobody-to-run-several-nodes",
            beta(f"{WORKER}.multinode", {"nodeCount": 2}),
            f"{WORKER}.multinode",
            "several nodes",
            "nothing",
        ),
        wrong(
            "grove-refused-by-the-graph",
            with_(
                beta(f"{WORKER}.multinode", {"nodeCount": 2}),
                "metadata.annotations",
                {"nvidia.com/enable-grove": "false"},
            ),
            f"{WORKER}.multinode",
            "several nodes",
            "nothing",
            Context(has_grove=True),
        ),
        wrong(
            "strategy",
            beta(f"{WORKER}.podTemplate.metadata.annotations", {STRATEGY: "Rolling"}),
            f"{WORKER}.podTemplate.metadata.annotations[{STRATEGY}]",
            '"Rolling"',
            "RollingUpdate",
        ),
        wrong(
            "surge",
            beta(f"{WORKER}.podTemplate.metadata.annotations", {SURGE: "half"}),
            f"{WORKER}.podTemplate.metadata.annotations[{SURGE}]",
            '"half"',
            '"25%"',
        ),
        wrong(
            "nothing-could-be-replaced",
            beta(f"{WORKER}.podTemplate.metadata.annotations", {SURGE: "0", UNAVAILABLE: "0%"}),
            f"{WORKER}.podTemplate.metadata.annotations[{UNAVAILABLE}]",
            '"0%"',
            "more than 0",
        ),
        wrong(
            "frontend-sidecar", beta(f"{WORKER}.frontendSidecar", "side"), f"{WORKER}.frontendSidecar", '"side"', "none"
        ),
        wrong(
            "frontend-sidecar-that-is-the-engine",
            beta(f"{WORKER}.frontendSidecar", "main"),
            f"{WORKER}.frontendSidecar",
            '"main"',
            "none",
        ),
        wrong(
            "strategy-of-the-graph",
            with_(a_graph(), "spec.annotations", {STRATEGY: "recreate"}),
            f"spec.annotations[{STRATEGY}]",
            '"recreate"',
            "Recreate",
        ),
        wrong(
            "strategy-of-a-v1alpha1-pod",
            alpha(f"{DECODE}.extraPodMetadata", {"annotations": {STRATEGY: "Both"}}),
            f"{DECODE}.extraPodMetadata.annotations[{STRATEGY}]",
            '"Both"',
            "Recreate",
        ),
        wrong(
            "sub-component-type-that-is-no-label",
            alpha(f"{DECODE}.subComponentType", "a part"),
            f"{DECODE}.subComponentType",
            '"a part"',
            "up to 63",
        ),
        wrong(
            "annotation-of-an-ingress",
            alpha(f"{DECODE}.ingress", {"enabled": True, "host": "h", "annotations": {"a b": "c"}}),
            f"{DECODE}.ingress.annotations[a b]",
            '"a b"',
            "prefix/name",
        ),
        wrong(
            "label-of-an-ingress",
            alpha(f"{DECODE}.ingress", {"enabled": True, "host": "h", "labels": {"a": "b c"}}),
            f"{DECODE}.ingress.labels[a]",
            '"b c"',
            "up to 63",
        ),
        wrong(
            "any-host-behind-a-prefix",
            alpha(f"{DECODE}.ingress", {"enabled": True, "hostPrefix": "p-", "host": "*.h"}),
            f"{DECODE}.ingress.host",
            '"*.h"',
            "a-z",
        ),
        wrong(
            "negative-shared-memory",
            beta(f"{WORKER}.sharedMemorySize", "-1Gi"),
            f"{WORKER}.sharedMemorySize",
            '"-1Gi"',
            "0 or more",
        ),
        wrong("alpha-type", alpha(f"{DECODE}.componentType", "wrker"), f"{DECODE}.componentType", '"wrker"', "worker"),
        wrong(
            "alpha-service-name",
            with_(an_alpha_graph(), "spec.services[my_worker]", an_alpha_service()),
            "spec.services[my_worker]",
            '"my_worker"',
            "inner '-'",
        ),
        wrong(
            "alpha-shared-memory-without-size",
            alpha(f"{DECODE}.sharedMemory", {}),
            f"{DECODE}.sharedMemory.size",
            "nothing",
            "greater than 0",
        ),
        wrong(
            "alpha-mount-without-point",
            alpha(f"{DECODE}.volumeMounts", [{"name": "m"}]),
            f"{DECODE}.volumeMounts[0].mountPoint",
            "nothing",
            "an absolute path",
        ),
        wrong(
            "alpha-names-equal-but-for-case",
            with_(an_alpha_graph(), "spec.services[DECODE]", an_alpha_service()),
            "spec.services[DECODE]",
            '"DECODE"',
            "unique case-insensitively",
        ),
    ],
)
def test_one_wrong_thing_gives_one_violation(row: Row) -> None:
    assert_only_violation(*row)


@pytest.mark.parametrize(
    "manifest",
    [
        pytest.param(beta(f"{MAIN}.image", "runtime:V1.5.0"), id="tag-with-a-capital-v"),
        pytest.param(
            beta(f"{WORKER}.podTemplate.metadata.annotations", {SURGE: "", STRATEGY: ""}), id="annotations-left-empty"
        ),
        pytest.param(
            beta(f"{MAIN}.livenessProbe", {"httpGet": {"port": 1}, "periodSeconds": 0}), id="a-number-of-a-probe-left-0"
        ),
        pytest.param(
            alpha(f"{DECODE}.extraPodSpec.mainContainer.name", "engine"), id="a-v1alpha1-container-of-any-name"
        ),
        pytest.param(alpha(f"{DECODE}.ingress", {"enabled": True, "host": "*.h"}), id="an-ingress-for-any-host"),
        pytest.param(
            with_(
                beta(f"{MAIN}.ports", [{"containerPort": 9090, "name": "system"}]),
                f"{WORKER}.podTemplate.spec.containers[1]",
                {"name": "other", "image": IMAGE, "ports": [{"containerPort": 9091, "name": "system"}]},
            ),
            id="a-port-of-another-container-with-the-same-name",
        ),
        pytest.param(
            with_(
                beta(f"{WORKER}.frontendSidecar", "front"),
                f"{WORKER}.podTemplate.spec.containers[1]",
                {"name": "front", "image": IMAGE, "readinessProbe": {"periodSeconds": 5}},
            ),
            id="a-sidecars-probe-that-asks-as-usual",
        ),
        pytest.param(
            with_(
                alpha(f"{DECODE}.livenessProbe", {"tcpSocket": {"port": 1}}),
                f"{DECODE}.extraPodSpec.mainContainer.livenessProbe",
                {"periodSeconds": 5},
            ),
            id="a-probe-of-a-container-that-asks-as-its-service",
        ),
        pytest.param(
            with_(
                alpha(f"{DECODE}.readinessProbe", {"periodSeconds": 5}),
                f"{DECODE}.extraPodSpec.mainContainer.readinessProbe",
                {"tcpSocket": {"port": 1}},
            ),
            id="a-probe-of-a-service-that-asks-as-its-container",
        ),
        pytest.param(beta("spec.env", TWICE), id="a-variable-of-the-graph-given-twice"),
        pytest.param(alpha("spec.envs", TWICE), id="a-variable-of-a-v1alpha1-graph-given-twice"),
        pytest.param(
            alpha(DECODE, an_alpha_service(envs=TWICE, frontendSidecar={"image": IMAGE, "envs": TWICE})),
            id="a-variable-of-a-service-given-twice",
        ),
        pytest.param(
            with_(
                alpha(f"{DECODE}.extraPodSpec.mainContainer.volumeMounts", [{"name": "m", "mountPath": "/m"}]),
                "spec.pvcs",
                [{"name": "m"}],
            ),
            id="a-claim-of-the-graph-mounted-in-the-container",
        ),
        pytest.param(
            with_(
                alpha(f"{DECODE}.extraPodSpec.mainContainer.volumeMounts", [{"name": "m", "mountPath": "/m"}]),
                f"{DECODE}.volumeMounts",
                [{"name": "m", "mountPoint": "/m"}],
            ),
            id="a-claim-mounted-twice-alike",
        ),
        pytest.param(
            with_(
                beta(f"{MAIN}.args", ["python3 -m dynamo.vllm & python3 -m dynamo.sglang"]),
                "spec.backendFramework",
                "vllm",
            ),
            id="two-engines-of-which-one-is-stated",
        ),
    ],
)
def test_what_upstream_runs_is_accepted(manifest: dict[str, Any]) -> None:
    assert [str(each) for each in validate(manifest)] == []


def test_a_graphs_component_deployment_may_mount_what_its_graph_has_put_aside() -> None:
    """Claims of a v1alpha1 graph are kept in the graph's annotation; the component that is made from it only mounts."""
    mount = {"name": "m", "mountPath": "/m"}
    mounted = with_(a_standalone(), "spec.podTemplate.spec.containers[0].volumeMounts", [mount])
    owner = {"apiVersion": "nvidia.com/v1beta1", "kind": "DynamoGraphDeployment", "name": "g", "uid": "1"}
    path = "spec.podTemplate.spec.containers[0].volumeMounts[0].name"
    assert [each.path for each in validate(mounted)] == [path]
    assert [each.path for each in validate(with_(mounted, "metadata.ownerReferences", [owner]))] == [path]
    assert validate(with_(mounted, "metadata.ownerReferences", [{**owner, "controller": True}])) == ()


def test_a_service_without_a_name_is_refused() -> None:
    (violation,) = validate(with_(an_alpha_graph(), "spec.services", {"": an_alpha_service()}))
    assert violation.path == "spec.services[]"
    assert "not a component name" in str(violation)
