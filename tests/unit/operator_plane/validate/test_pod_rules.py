"""Rules of pods and containers: a valid manifest with one thing wrong gives one violation."""

from __future__ import annotations

from typing import Any

import pytest

from dynamo_operator.validate import Context
from tests.unit.operator_plane.validate.cases import alpha, assert_only_violation, beta, wrong
from tests.unit.operator_plane.validate.manifests import (
    MAIN,
    a_container,
    with_,
)

WORKER = "spec.components[1]"
POD = f"{WORKER}.podTemplate.spec"
TWO_CONTAINERS = [a_container(), a_container(name="side")]
GPU = "nvidia.com/gpu"
TWO_PROBES = {"httpGet": {"port": 80}, "exec": {"command": ["true"]}}


@pytest.mark.parametrize(
    ("manifest", "path", "found", "allowed", "context"),
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
    ],
)
def test_one_wrong_thing_gives_one_violation(
    manifest: dict[str, Any], path: str, found: str, allowed: str, context: Context | None
) -> None:
    assert_only_violation(manifest, path, found, allowed, context)
