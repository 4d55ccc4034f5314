"""Rules of components: a valid manifest with one thing wrong gives one violation."""

from __future__ import annotations

from typing import Any

import pytest

from dynamo_operator.validate import Context, validate
from tests.unit.operator_plane.validate.cases import alpha, assert_only_violation, beta, wrong
from tests.unit.operator_plane.validate.manifests import (
    DECODE,
    IMAGE,
    MAIN,
    a_component,
    a_container,
    a_graph,
    a_standalone,
    an_alpha_graph,
    an_alpha_service,
    with_,
)

WORKER = "spec.components[1]"
RUNTIME = {"name": "runtime", "image": IMAGE, "restartPolicy": "Always"}
STRATEGY = "nvidia.com/deployment-strategy"
SURGE = "nvidia.com/deployment-rolling-update-max-surge"
UNAVAILABLE = "nvidia.com/deployment-rolling-update-max-unavailable"
TWO_PROBES = {"httpGet": {"port": 80}, "exec": {"command": ["true"]}}
GPU = "nvidia.com/gpu"
CACHED = {"useAsCompilationCache": True}
TWICE = [{"name": "A", "value": "1"}, {"name": "A", "value": "2"}]
GMS = a_component(
    podTemplate={"spec": {"containers": [a_container(resources={"limits": {GPU: "1"}})]}},
    experimental={"gpuMemoryService": {}},
)


SCRATCHED = with_(
    with_(a_graph(), f"{MAIN}.volumeMounts", [{"name": "s", "mountPath": "/s"}]),
    f"{WORKER}.podTemplate.spec.volumes",
    [{"name": "s", "emptyDir": {}}],
)


@pytest.mark.parametrize(
    ("manifest", "path", "found", "allowed", "context"),
    [
        wrong(
            "reserved-container-of-a-frontend",
            beta("spec.components[0].podTemplate.spec.initContainers", [RUNTIME]),
            "spec.components[0].podTemplate.spec.initContainers[0].name",
            '"runtime"',
            "worker, prefill, decode",
        ),
        wrong(
            "reserved-container-that-ends",
            beta(f"{WORKER}.podTemplate.spec.initContainers", [{**RUNTIME, "restartPolicy": None}]),
            f"{WORKER}.podTemplate.spec.initContainers[0].restartPolicy",
            "nothing",
            "Always",
        ),
        wrong(
            "reserved-container-and-gpu-memory-service",
            with_(a_graph(GMS), "spec.components[0].podTemplate.spec.initContainers", [RUNTIME]),
            "spec.components[0].podTemplate.spec.initContainers[0].name",
            "with gpuMemoryService",
            "another name",
        ),
        wrong(
            "checkpoint",
            beta(f"{WORKER}.experimental", {"checkpoint": {"enabled": True, "job": {"gmsClientContainers": ["main"]}}}),
            f"{WORKER}.experimental.checkpoint",
            "enabled: true",
            "enabled: false",
        ),
        wrong(
            "checkpoint-of-a-service",
            alpha("spec.services[decode].checkpoint", {"enabled": True, "checkpointRef": "c"}),
            "spec.services[decode].checkpoint",
            "enabled: true",
            "enabled: false",
        ),
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
            "compilation-cache-of-no-known-engine",
            beta(f"{WORKER}.compilationCache", {"pvcName": "c"}),
            f"{WORKER}.compilationCache.mountPath",
            "nothing",
            "an absolute path",
        ),
        wrong(
            "tag-with-a-leading-zero",
            beta(f"{MAIN}.image", "runtime:01.5.0"),
            f"{WORKER}.runtimeVersionOverride",
            'image "runtime:01.5.0"',
            "X.Y.Z here",
        ),
        wrong(
            "elastic-without-command",
            with_(beta(f"{MAIN}.args", ["--enable-elastic-ep"]), f"{WORKER}.multinode", {"nodeCount": 2}),
            f"{MAIN}.command",
            "nothing",
            "python3",
            Context(has_leader_worker_sets=True),
        ),
        wrong(
            "sidecars-probe-at-start-has-no-usual-way",
            with_(
                beta(f"{WORKER}.frontendSidecar", "front"),
                f"{WORKER}.podTemplate.spec.containers[1]",
                {"name": "front", "image": IMAGE, "startupProbe": {"periodSeconds": 5}},
            ),
            f"{WORKER}.podTemplate.spec.containers[1].startupProbe",
            "an object",
            "httpGet",
        ),
        wrong(
            "container-beside-asks-nobody",
            with_(
                beta(f"{MAIN}.command", ["run"]),
                f"{WORKER}.podTemplate.spec.containers[1]",
                {"name": "other", "image": IMAGE, "readinessProbe": {"periodSeconds": 5}},
            ),
            f"{WORKER}.podTemplate.spec.containers[1].readinessProbe",
            "an object",
            "httpGet",
        ),
        wrong(
            "elastic-alone-without-command",
            with_(
                beta(f"{MAIN}.args", ["--enable-elastic-ep", "--data-parallel-backend=ray"]),
                "spec.backendFramework",
                "vllm",
            ),
            f"{MAIN}.command",
            "nothing",
            "python3",
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
            "cache-where-another-volume-is",
            with_(SCRATCHED, f"{WORKER}.compilationCache", {"pvcName": "c", "mountPath": "/s"}),
            f"{MAIN}.volumeMounts[0].mountPath",
            '"/s"',
            "another path",
        ),
        wrong(
            "cache-that-is-read-only",
            with_(
                beta(f"{MAIN}.volumeMounts", [{"name": "c", "mountPath": "/c", "readOnly": True}]),
                f"{WORKER}.compilationCache",
                {"pvcName": "c", "mountPath": "/c"},
            ),
            f"{MAIN}.volumeMounts[0].readOnly",
            "true",
            "false",
        ),
        wrong(
            "cache-named-like-another-volume",
            with_(SCRATCHED, f"{WORKER}.compilationCache", {"pvcName": "s", "mountPath": "/c"}),
            f"{WORKER}.podTemplate.spec.volumes[0]",
            "an object",
            "that claim",
        ),
        wrong(
            "sub-component-type-that-is-no-label",
            alpha(f"{DECODE}.subComponentType", "a part"),
            f"{DECODE}.subComponentType",
            '"a part"',
            "up to 63",
        ),
        wrong(
            "second-cache-without-a-path",
            alpha(f"{DECODE}.volumeMounts", [{"name": name, **CACHED} for name in "ab"]),
            f"{DECODE}.volumeMounts[1].mountPoint",
            "nothing",
            "an absolute path",
        ),
        wrong(
            "container-named-like-the-main-one-of-v1alpha1",
            alpha(f"{DECODE}.extraPodSpec.containers", [a_container()]),
            f"{DECODE}.extraPodSpec.containers[0].name",
            '"main"',
            "each name once",
        ),
        wrong(
            "two-volumes-at-one-path-of-v1alpha1",
            with_(
                alpha(f"{DECODE}.volumeMounts", [{"name": "a", "mountPoint": "/m"}]),
                f"{DECODE}.extraPodSpec",
                {
                    "mainContainer": {"image": IMAGE, "volumeMounts": [{"name": "s", "mountPath": "/m"}]},
                    "volumes": [{"name": "s", "emptyDir": {}}],
                },
            ),
            f"{DECODE}.volumeMounts[0].mountPoint",
            '"/m"',
            "another path",
        ),
        wrong(
            "cache-without-default-directory",
            with_(a_graph(backendFramework="sglang"), f"{WORKER}.compilationCache", {"pvcName": "c"}),
            f"{WORKER}.compilationCache.mountPath",
            "nothing",
            "an absolute path",
        ),
        wrong(
            "negative-shared-memory",
            beta(f"{WORKER}.sharedMemorySize", "-1Gi"),
            f"{WORKER}.sharedMemorySize",
            '"-1Gi"',
            "0 or more",
        ),
        wrong(
            "epp-config-on-worker",
            beta(f"{WORKER}.eppConfig", {"configMapRef": {"key": "k", "name": "n"}}),
            f"{WORKER}.eppConfig",
            'type "worker"',
            "nothing",
        ),
        wrong(
            "epp-two-sources",
            a_graph(
                a_component(
                    "epp",
                    "epp",
                    eppConfig={
                        "configMapRef": {"key": "k", "name": "n"},
                        "config": {"plugins": [], "schedulingProfiles": []},
                    },
                )
            ),
            "spec.components[0].eppConfig",
            "config, configMapRef",
            "one of config, configMapRef",
            Context(has_inference_pools=True),
        ),
        wrong(
            "epp-without-config-before-1.5",
            with_(
                a_graph(a_component("epp", "epp")),
                "spec.components[0].podTemplate.spec.containers[0].image",
                "r/epp:1.4.0",
            ),
            "spec.components[0].eppConfig",
            "nothing",
            "one of config, configMapRef",
            Context(has_inference_pools=True),
        ),
        wrong(
            "epp-two-replicas",
            a_graph(a_component("epp", "epp", replicas=2)),
            "spec.components[0].replicas",
            "2",
            "1",
            Context(has_inference_pools=True),
        ),
        wrong(
            "power-limit-zero",
            beta(f"{WORKER}.podTemplate.metadata", {"annotations": {"dynamo.nvidia.com/gpu-power-limit": "0"}}),
            f"{WORKER}.podTemplate.metadata.annotations[dynamo.nvidia.com/gpu-power-limit]",
            '"0"',
            "positive whole number",
        ),
        wrong(
            "memory-service-without-gpu",
            beta(f"{WORKER}.experimental", {"gpuMemoryService": {}}),
            f"{WORKER}.experimental.gpuMemoryService",
            "none",
            "at least one GPU",
        ),
        wrong(
            "memory-service-on-frontend",
            beta("spec.components[0].experimental", {"gpuMemoryService": {}}),
            "spec.components[0].experimental.gpuMemoryService",
            'type "frontend"',
            "worker, prefill, decode",
        ),
        wrong(
            "memory-service-client-unknown",
            with_(a_graph(GMS), "spec.components[0].experimental.gpuMemoryService.extraClientContainers", ["mian"]),
            "spec.components[0].experimental.gpuMemoryService.extraClientContainers[0]",
            '"mian"',
            "main",
        ),
        wrong(
            "failover-without-memory-service",
            beta(f"{WORKER}.experimental", {"failover": {}}),
            f"{WORKER}.experimental.failover",
            "an empty object",
            "gpuMemoryService",
        ),
        wrong(
            "failover-mode-differs",
            with_(
                with_(a_graph(GMS), "spec.components[0].experimental.failover", {"mode": "InterPod"}),
                "metadata.annotations",
                {"nvidia.com/dynamo-kube-discovery-mode": "container"},
            ),
            "spec.components[0].experimental.failover.mode",
            "interpod",
            "intrapod",
        ),
        wrong(
            "failover-without-discovery-by-container",
            with_(a_graph(GMS), "spec.components[0].experimental.failover", {}),
            "spec.components[0].experimental.failover",
            "an empty object",
            "nvidia.com/dynamo-kube-discovery-mode",
        ),
        wrong(
            "memory-service-across-pods",
            a_graph({**GMS, "experimental": {"gpuMemoryService": {"mode": "InterPod"}}}),
            "spec.components[0].experimental.gpuMemoryService.mode",
            '"InterPod"',
            "IntraPod",
            Context(has_grove=True),
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
            "alpha-request-over-limit",
            alpha(f"{DECODE}.resources", {"limits": {"cpu": "1"}, "requests": {"cpu": "1500m"}}),
            f"{DECODE}.resources.requests.cpu",
            '"1500m"',
            "at most 1",
        ),
        wrong(
            "alpha-gpu-fraction",
            alpha(f"{DECODE}.resources", {"limits": {"gpu": "0.5"}}),
            f"{DECODE}.resources.limits.gpu",
            '"0.5"',
            "a whole number",
        ),
        wrong(
            "alpha-quantity",
            alpha(f"{DECODE}.resources", {"limits": {"memory": "4GB"}}),
            f"{DECODE}.resources.limits.memory",
            '"4GB"',
            "a quantity",
        ),
        wrong(
            "alpha-mount-without-point",
            alpha(f"{DECODE}.volumeMounts", [{"name": "m"}]),
            f"{DECODE}.volumeMounts[0].mountPoint",
            "nothing",
            "an absolute path",
        ),
        wrong(
            "alpha-probe-two-handlers",
            alpha(f"{DECODE}.livenessProbe", TWO_PROBES),
            f"{DECODE}.livenessProbe",
            "exec, httpGet",
            "one of",
        ),
        wrong(
            "alpha-main-container-mounts-unknown-volume",
            alpha(f"{DECODE}.extraPodSpec.mainContainer.volumeMounts", [{"name": "nope", "mountPath": "/n"}]),
            f"{DECODE}.extraPodSpec.mainContainer.volumeMounts[0].name",
            '"nope"',
            "shared-memory",
        ),
        wrong(
            "alpha-names-equal-but-for-case",
            with_(an_alpha_graph(), "spec.services[DECODE]", an_alpha_service()),
            "spec.services[DECODE]",
            '"DECODE"',
            "unique case-insensitively",
        ),
        wrong(
            "alpha-sidecar-twice",
            with_(
                alpha(f"{DECODE}.frontendSidecar", {"image": IMAGE}),
                f"{DECODE}.extraPodSpec.containers",
                [a_container(name="sidecar-frontend")],
            ),
            f"{DECODE}.frontendSidecar",
            "an object of 1 field",
            "one of the two",
        ),
    ],
)
def test_one_wrong_thing_gives_one_violation(
    manifest: dict[str, Any], path: str, found: str, allowed: str, context: Context | None
) -> None:
    assert_only_violation(manifest, path, found, allowed, context)


VLLM = a_component(
    "vllm", podTemplate={"spec": {"containers": [a_container(command=["python3", "-m", "dynamo.vllm"])]}}
)


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
        pytest.param(
            alpha(f"{DECODE}.volumeMounts", [{"name": name, "mountPoint": f"/{name}", **CACHED} for name in "ab"]),
            id="a-second-cache-is-a-mount",
        ),
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
            with_(beta(f"{WORKER}.compilationCache", {"pvcName": "c"}), "spec.backendFramework", "vllm"),
            id="cache-of-the-stated-engine",
        ),
        pytest.param(a_graph(VLLM, a_component(compilationCache={"pvcName": "c"})), id="cache-of-a-neighbours-engine"),
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


def test_a_picker_may_mount_its_default_volumes_elsewhere() -> None:
    mounts = [{"name": "hf-cache", "mountPath": "/hf"}, {"name": "epp-config", "mountPath": "/conf"}]
    template = {"spec": {"containers": [a_container(volumeMounts=mounts)]}}
    picker = a_component(
        "Epp", "epp", podTemplate=template, eppConfig={"config": {"plugins": [], "schedulingProfiles": []}}
    )
    assert [str(each) for each in validate(a_graph(picker), Context(has_inference_pools=True))] == []
    worker = a_component(podTemplate=template)
    assert len(validate(a_graph(worker))) == len(mounts)


def test_a_graphs_component_deployment_may_mount_what_its_graph_has_put_aside() -> None:
    """Claims of a v1alpha1 graph are kept in the graph's annotation; the component that is made from it only mounts."""
    mount = {"name": "m", "mountPath": "/m"}
    mounted = with_(a_standalone(), "spec.podTemplate.spec.containers[0].volumeMounts", [mount])
    owner = {"apiVersion": "nvidia.com/v1beta1", "kind": "DynamoGraphDeployment", "name": "g", "uid": "1"}
    path = "spec.podTemplate.spec.containers[0].volumeMounts[0].name"
    assert [each.path for each in validate(mounted)] == [path]
    assert [each.path for each in validate(with_(mounted, "metadata.ownerReferences", [owner]))] == [path]
    assert validate(with_(mounted, "metadata.ownerReferences", [{**owner, "controller": True}])) == ()


def test_modes_across_pods_are_refused_on_every_pathway_at_each_feature() -> None:
    features = {"gpuMemoryService": {"mode": "InterPod"}, "failover": {"mode": "InterPod"}}
    for context in (Context(), Context(has_grove=True), Context(has_leader_worker_sets=True)):
        found = validate(a_graph({**GMS, "experimental": features}), context)
        assert [violation.path for violation in found] == [
            "spec.components[0].experimental.gpuMemoryService.mode",
            "spec.components[0].experimental.failover.mode",
        ]
        assert all("modes across pods are not implemented" in str(violation) for violation in found)
    service: dict[str, Any] = {
        "resources": {"limits": {"gpu": "1"}},
        "gpuMemoryService": {"enabled": True, "mode": "interPod"},
    }
    (violation,) = validate(with_(an_alpha_graph(), DECODE, an_alpha_service(**service)), Context(has_grove=True))
    assert violation.path == f"{DECODE}.gpuMemoryService.mode"
    assert violation.allowed == "intraPod"


def test_a_service_without_a_name_is_refused() -> None:
    (violation,) = validate(with_(an_alpha_graph(), "spec.services", {"": an_alpha_service()}))
    assert violation.path == "spec.services[]"
    assert "not a component name" in str(violation)
