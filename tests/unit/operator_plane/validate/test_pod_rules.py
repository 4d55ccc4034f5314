"""Rules of pods and containers: a valid manifest with one thing wrong gives one violation."""

from __future__ import annotations

import pytest

from dynamo_operator.validate import validate
from tests.unit.operator_plane.validate.cases import Row, alpha, assert_only_violation, beta, wrong
from tests.unit.operator_plane.validate.manifests import DECODE, IMAGE, MAIN, a_container, with_

WORKER = "spec.components[1]"
POD = f"{WORKER}.podTemplate.spec"
TWO_CONTAINERS = [a_container(), a_container(name="side")]
GPU = "nvidia.com/gpu"
TWO_PROBES = {"httpGet": {"port": 80}, "exec": {"command": ["true"]}}


@pytest.mark.parametrize(
    "row",
    [
        wrong("env-name-with-equals", beta("spec.env", [{"name": "A=B"}]), "spec.env[0].name", '"A=B"', 'without "="'),
        wrong("env-name-not-ascii", beta("spec.env", [{"name": "Ä"}]), "spec.env[0].name", '"Ä"', "printable ASCII"),
        wrong(
            "env-name-control", beta(f"{MAIN}.env", [{"name": "a\tb"}]), f"{MAIN}.env[0].name", "a", "printable ASCII"
        ),
        wrong(
            "env-from-prefix",
            beta(f"{MAIN}.envFrom", [{"prefix": "Ä", "secretRef": {"name": "s"}}]),
            f"{MAIN}.envFrom[0].prefix",
            '"Ä"',
            "printable ASCII",
        ),
        wrong(
            "served-port-of-another-name",
            beta("spec.components[0].podTemplate.spec.containers[0].ports", [{"name": "web", "containerPort": 8000}]),
            "spec.components[0].podTemplate.spec.containers[0].ports[0].name",
            '"web"',
            "http",
        ),
        wrong(
            "env-twice",
            beta(f"{MAIN}.env", [{"name": "A"}, {"name": "A", "value": "b"}]),
            f"{MAIN}.env[1].name",
            '"A"',
            "each name once",
        ),
        wrong(
            "env-two-sources",
            beta(
                f"{MAIN}.env", [{"name": "A", "value": "b", "valueFrom": {"fieldRef": {"fieldPath": "metadata.uid"}}}]
            ),
            f"{MAIN}.env[0].valueFrom",
            "an object of 1 field",
            "one of value, valueFrom",
        ),
        wrong(
            "port-out-of-range",
            beta(f"{MAIN}.ports", [{"containerPort": 70000}]),
            f"{MAIN}.ports[0].containerPort",
            "70000",
            "1 to 65535",
        ),
        wrong(
            "port-twice",
            beta(f"{MAIN}.ports", [{"containerPort": 80}, {"containerPort": 80, "protocol": "TCP"}]),
            f"{MAIN}.ports[1].containerPort",
            "80",
            "each port and protocol once",
        ),
        wrong(
            "port-name-too-long",
            beta(f"{MAIN}.ports", [{"containerPort": 80, "name": "a-very-long-port-name"}]),
            f"{MAIN}.ports[0].name",
            '"a-very-long-port-name"',
            "1 to 15",
        ),
        wrong(
            "probe-without-handler",
            beta(f"{MAIN}.readinessProbe", {"periodSeconds": 5}),
            f"{MAIN}.readinessProbe",
            "an object of 1 field",
            "one of exec, httpGet, tcpSocket, grpc",
        ),
        wrong(
            "probe-two-handlers",
            beta(f"{MAIN}.startupProbe", TWO_PROBES),
            f"{MAIN}.startupProbe",
            "exec, httpGet",
            "one of exec",
        ),
        wrong(
            "probe-of-unknown-port",
            beta(f"{MAIN}.livenessProbe", {"httpGet": {"port": "sistem"}}),
            f"{MAIN}.livenessProbe.httpGet.port",
            '"sistem"',
            "nixl, system",
        ),
        wrong(
            "probe-period-below-zero",
            beta(f"{MAIN}.livenessProbe", {"httpGet": {"port": 1}, "periodSeconds": -1}),
            f"{MAIN}.livenessProbe.periodSeconds",
            "-1",
            "at least 0",
        ),
        wrong(
            "liveness-success-threshold",
            beta(f"{MAIN}.livenessProbe", {"httpGet": {"port": 1}, "successThreshold": 2}),
            f"{MAIN}.livenessProbe.successThreshold",
            "2",
            "1",
        ),
        wrong(
            "mount-of-unknown-volume",
            with_(
                beta(f"{POD}.volumes", [{"name": "models", "emptyDir": {}}]),
                f"{MAIN}.volumeMounts",
                [{"name": "model", "mountPath": "/m"}],
            ),
            f"{MAIN}.volumeMounts[0].name",
            '"model"',
            "models, shared-memory",
        ),
        wrong(
            "mount-of-shared-memory-that-is-off",
            with_(
                beta(f"{WORKER}.sharedMemorySize", "0"),
                f"{MAIN}.volumeMounts",
                [{"name": "shared-memory", "mountPath": "/dev/shm"}],
            ),
            f"{MAIN}.volumeMounts[0].name",
            '"shared-memory"',
            "none",
        ),
        wrong(
            "two-mounts-at-one-path",
            with_(
                beta(f"{POD}.volumes", [{"name": "a"}, {"name": "b"}]),
                f"{MAIN}.volumeMounts",
                [{"name": "a", "mountPath": "/m"}, {"name": "b", "mountPath": "/m"}],
            ),
            f"{MAIN}.volumeMounts[1].mountPath",
            '"/m"',
            "each once",
        ),
        wrong(
            "volume-two-sources",
            beta(f"{POD}.volumes", [{"name": "a", "emptyDir": {}, "hostPath": {"path": "/a"}}]),
            f"{POD}.volumes[0]",
            "emptyDir, hostPath",
            "one source",
        ),
        wrong(
            "volume-twice",
            beta(f"{POD}.volumes", [{"name": "a"}, {"name": "a"}]),
            f"{POD}.volumes[1].name",
            '"a"',
            "once",
        ),
        wrong(
            "request-over-limit",
            beta(f"{MAIN}.resources", {"limits": {"memory": "1Gi"}, "requests": {"memory": "2000Mi"}}),
            f"{MAIN}.resources.requests[memory]",
            '"2000Mi"',
            "at most 1Gi",
        ),
        wrong(
            "gpu-request-without-limit",
            beta(f"{MAIN}.resources", {"requests": {GPU: 1}}),
            f"{MAIN}.resources.requests[{GPU}]",
            "1",
            "the same amount in limits",
        ),
        wrong(
            "gpu-overcommitted",
            beta(f"{MAIN}.resources", {"limits": {GPU: 2}, "requests": {GPU: 1}}),
            f"{MAIN}.resources.requests[{GPU}]",
            "1",
            "the limit, 2",
        ),
        wrong(
            "negative-amount",
            beta(f"{MAIN}.resources", {"limits": {"cpu": "-1"}}),
            f"{MAIN}.resources.limits[cpu]",
            '"-1"',
            "0 or more",
        ),
        wrong(
            "resource-name",
            beta(f"{MAIN}.resources", {"limits": {"gpu": 1}}),
            f"{MAIN}.resources.limits[gpu]",
            '"gpu"',
            "nvidia.com/gpu",
        ),
        wrong(
            "resource-claim",
            beta(f"{MAIN}.resources", {"claims": [{"name": "gpus"}]}),
            f"{MAIN}.resources.claims[0].name",
            '"gpus"',
            "no resourceClaims",
        ),
        wrong(
            "resource-claim-of-v1alpha1",
            alpha("spec.services[decode].resources", {"claims": [{"name": "gpus"}]}),
            "spec.services[decode].resources.claims[0].name",
            '"gpus"',
            "no resourceClaims",
        ),
        wrong("restart-policy", beta(f"{POD}.restartPolicy", "Never"), f"{POD}.restartPolicy", '"Never"', "Always"),
        wrong(
            "toleration",
            beta(f"{POD}.tolerations", [{"operator": "Exist"}]),
            f"{POD}.tolerations[0].operator",
            '"Exist"',
            "Exists, Equal",
        ),
        wrong(
            "pull-policy", beta(f"{MAIN}.imagePullPolicy", "always"), f"{MAIN}.imagePullPolicy", '"always"', "Always"
        ),
        wrong(
            "container-name",
            beta(f"{POD}.containers", [a_container(), a_container(name="Side_car")]),
            f"{POD}.containers[1].name",
            '"Side_car"',
            "a-z",
        ),
        wrong(
            "init-container-named-like-another",
            with_(
                beta(f"{POD}.containers", TWO_CONTAINERS),
                f"{POD}.initContainers",
                [a_container(name="side", image="x")],
            ),
            f"{POD}.initContainers[0].name",
            '"side"',
            "each name once",
        ),
        wrong(
            "sidecar-without-image",
            beta(f"{POD}.containers", [a_container(), {"name": "side"}]),
            f"{POD}.containers[1].image",
            "nothing",
            "an image reference",
        ),
        wrong(
            "pod-template-missing", beta(f"{WORKER}.podTemplate", None), f"{POD}.containers", "no container", '"main"'
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
        wrong(
            "image-in-upper-case",
            beta(f"{MAIN}.image", "r.example/Runtime:1.5.0"),
            f"{MAIN}.image",
            '"r.example/Runtime:1.5.0"',
            "lower case",
        ),
        wrong(
            "image-with-a-build-as-tag",
            beta(f"{MAIN}.image", "r.example/runtime:1.5.0+cuda"),
            f"{MAIN}.image",
            '"r.example/runtime:1.5.0+cuda"',
            "[:tag]",
        ),
        wrong(
            "image-of-a-template-that-nobody-filled",
            with_(beta(f"{MAIN}.image", "${IMAGE}"), f"{WORKER}.runtimeVersionOverride", "1.5.0"),
            f"{MAIN}.image",
            '"${IMAGE}"',
            "name",
        ),
        wrong(
            "image-of-a-v1alpha1-sidecar",
            alpha(f"{DECODE}.frontendSidecar", {"image": "front:1 "}),
            f"{DECODE}.frontendSidecar.image",
            '"front:1 "',
            "an image reference",
        ),
        wrong(
            "host-port-out-of-range",
            beta(f"{MAIN}.ports", [{"containerPort": 80, "hostPort": 65536}]),
            f"{MAIN}.ports[0].hostPort",
            "65536",
            "0 for none",
        ),
    ],
)
def test_one_wrong_thing_gives_one_violation(row: Row) -> None:
    assert_only_violation(*row)


IMAGES = [
    "runtime:1.5.0",
    "Registry/runtime:1.5.0",
    "r.example:5000/a/b__c/d--e.f:v1.5.0-rc.1_x",
    "[::1]:5000/runtime:1.5.0",
    f"r.example/runtime:1.5.0@sha256:{'0f' * 32}",
]


@pytest.mark.parametrize("image", IMAGES)
def test_what_a_container_runtime_reads_as_an_image_is_one(image: str) -> None:
    manifest = with_(beta(f"{MAIN}.image", image), f"{WORKER}.runtimeVersionOverride", "1.5.0")
    assert validate(manifest) == ()


def test_a_host_port_of_0_is_none() -> None:
    assert validate(beta(f"{MAIN}.ports", [{"containerPort": 80, "hostPort": 0}])) == ()
