"""Core Kubernetes types: what an API server refuses in a pod is refused in a manifest, once and by its path."""

from __future__ import annotations

from typing import Any

import pytest

from dynamo_operator.validate import validate
from tests.unit.operator_plane.validate.cases import Row, alpha, assert_only_violation, beta, wrong
from tests.unit.operator_plane.validate.manifests import DECODE, MAIN, an_alpha_graph, an_alpha_service, with_

POD = "spec.components[1].podTemplate.spec"
TERM = {"topologyKey": "zone", "labelSelector": {"matchLabels": {"a": "b"}}}
AFFINITY = f"{POD}.affinity.podAntiAffinity.requiredDuringSchedulingIgnoredDuringExecution"
NODES = f"{POD}.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms"
SPREAD = {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"}
RESOURCES = f"{MAIN}.resources"


def env(source: dict[str, Any]) -> dict[str, Any]:
    return beta(f"{MAIN}.env", [{"name": "A", "valueFrom": source}])


def volume(source: dict[str, Any]) -> dict[str, Any]:
    return beta(f"{POD}.volumes", [{"name": "v", **source}])


def mounted(mount: dict[str, Any]) -> dict[str, Any]:
    return with_(volume({"emptyDir": {}}), f"{MAIN}.volumeMounts", [{"name": "v", "mountPath": "/v", **mount}])


def nodes(**requirement: Any) -> dict[str, Any]:
    return beta(NODES, [{"matchExpressions": [{"key": "a", "operator": "In", "values": ["b"], **requirement}]}])


@pytest.mark.parametrize(
    "row",
    [
        wrong("empty-source", beta(f"{MAIN}.envFrom", [{}]), f"{MAIN}.envFrom[0]", "neither", "secretRef"),
        wrong(
            "secret-without-name",
            beta(f"{MAIN}.envFrom", [{"secretRef": {}}]),
            f"{MAIN}.envFrom[0].secretRef.name",
            "nothing",
            "a-z",
        ),
        wrong(
            "secret-of-a-name-that-cannot-be",
            env({"secretKeyRef": {"name": "My_Secret", "key": "k"}}),
            f"{MAIN}.env[0].valueFrom.secretKeyRef.name",
            '"My_Secret"',
            "a-z",
        ),
        wrong(
            "secret-key",
            env({"secretKeyRef": {"name": "s", "key": "a b"}}),
            f"{MAIN}.env[0].valueFrom.secretKeyRef.key",
            '"a b"',
            "letters, digits",
        ),
        wrong(
            "pod-field-misspelt",
            env({"fieldRef": {"fieldPath": "status.podIp"}}),
            f"{MAIN}.env[0].valueFrom.fieldRef.fieldPath",
            '"status.podIp"',
            "status.podIP",
        ),
        wrong(
            "exec-without-command",
            beta(f"{MAIN}.livenessProbe", {"exec": {}}),
            f"{MAIN}.livenessProbe.exec.command",
            "nothing",
            "at least one word",
        ),
        wrong(
            "scheme",
            beta(f"{MAIN}.livenessProbe", {"httpGet": {"port": 1, "scheme": "https"}}),
            f"{MAIN}.livenessProbe.httpGet.scheme",
            '"https"',
            "HTTPS",
        ),
        wrong(
            "too-large-for-32-bits",
            beta(f"{MAIN}.livenessProbe", {"httpGet": {"port": 1}, "periodSeconds": 2**31}),
            f"{MAIN}.livenessProbe.periodSeconds",
            str(2**31),
            "32 bits",
        ),
        wrong(
            "claim",
            volume({"persistentVolumeClaim": {"claimName": ""}}),
            f"{POD}.volumes[0].persistentVolumeClaim.claimName",
            '""',
            "text",
        ),
        wrong("config-map", volume({"configMap": {}}), f"{POD}.volumes[0].configMap.name", "nothing", "a-z"),
        wrong("medium", volume({"emptyDir": {"medium": "RAM"}}), f"{POD}.volumes[0].emptyDir.medium", "RAM", "Memory"),
        wrong(
            "mode-written-in-decimal",
            volume({"configMap": {"name": "c", "defaultMode": 644}}),
            f"{POD}.volumes[0].configMap.defaultMode",
            "644",
            "0 to 511",
        ),
        wrong(
            "taint-key",
            beta(f"{POD}.tolerations", [{"key": "a b"}]),
            f"{POD}.tolerations[0].key",
            '"a b"',
            "prefix/name",
        ),
        wrong(
            "taint-without-key", beta(f"{POD}.tolerations", [{}]), f"{POD}.tolerations[0].operator", "nothing", "Exists"
        ),
        wrong(
            "topology-key", beta(AFFINITY, [{**TERM, "topologyKey": ""}]), f"{AFFINITY}[0].topologyKey", '""', "text"
        ),
        wrong(
            "selector-value",
            beta(AFFINITY, [{**TERM, "labelSelector": {"matchLabels": {"a": "b c"}}}]),
            f"{AFFINITY}[0].labelSelector.matchLabels[a]",
            '"b c"',
            "letters, digits",
        ),
        wrong("operator", nodes(operator="in"), f"{NODES}[0].matchExpressions[0].operator", '"in"', "In"),
        wrong("no-values", nodes(values=[]), f"{NODES}[0].matchExpressions[0].values", "an empty list", "one value"),
        wrong("values", nodes(operator="Exists"), f"{NODES}[0].matchExpressions[0].values", "1 item", "nothing"),
        wrong(
            "spread",
            beta(f"{POD}.topologySpreadConstraints", [{**SPREAD, "maxSkew": 0}]),
            f"{POD}.topologySpreadConstraints[0].maxSkew",
            "0",
            "at least 1",
        ),
        wrong("dns", beta(f"{POD}.dnsPolicy", "None"), f"{POD}.dnsConfig.nameservers", "nothing", "one address"),
        wrong(
            "root", beta(f"{POD}.securityContext.runAsUser", -1), f"{POD}.securityContext.runAsUser", "-1", "at least 0"
        ),
        wrong("deadline", beta(f"{POD}.activeDeadlineSeconds", 9), f"{POD}.activeDeadlineSeconds", "9", "nothing"),
        wrong(
            "pull-secret", beta(f"{POD}.imagePullSecrets", [{}]), f"{POD}.imagePullSecrets[0].name", "nothing", "a-z"
        ),
        wrong("no-amount", beta(f"{RESOURCES}.limits", {"cpu": None}), f"{RESOURCES}.limits[cpu]", "nothing", '"500m"'),
        wrong("device", beta(f"{RESOURCES}.limits", {"a b/gpu": 1}), f"{RESOURCES}.limits[a b/gpu]", "a b", "device"),
        wrong(
            "claim-of-a-pod",
            beta(f"{POD}.resourceClaims", [{"name": "gpu"}]),
            f"{POD}.resourceClaims[0]",
            "neither",
            "one of resourceClaimName, resourceClaimTemplateName",
        ),
        wrong(
            "v1alpha1-probe",
            alpha(f"{DECODE}.livenessProbe", {"exec": {}}),
            f"{DECODE}.livenessProbe.exec.command",
            "nothing",
            "at least one word",
        ),
        wrong("v1alpha1-secret", alpha(f"{DECODE}.envFromSecret", "A_B"), f"{DECODE}.envFromSecret", "A_B", "a-z"),
        wrong(
            "v1alpha1-mount",
            alpha(f"{DECODE}.volumeMounts", [{"name": "a.b", "mountPoint": "/a"}]),
            f"{DECODE}.volumeMounts[0].name",
            "a.b",
            "1 to 63",
        ),
        wrong(
            "v1alpha1-device",
            alpha(f"{DECODE}.resources", {"limits": {"gpu": "1", "gpuType": "h100"}}),
            f"{DECODE}.resources.limits.gpuType",
            "h100",
            "nvidia.com/gpu",
        ),
        wrong(
            "probe-of-an-init-container",
            beta(f"{POD}.initContainers", [{"name": "i", "image": "i", "livenessProbe": {"exec": {"command": ["x"]}}}]),
            f"{POD}.initContainers[0].livenessProbe",
            "an object",
            "restartPolicy: Always",
        ),
        wrong(
            "hook-of-an-init-container",
            beta(
                f"{POD}.initContainers",
                [{"name": "i", "image": "i", "lifecycle": {"preStop": {"exec": {"command": ["x"]}}}}],
            ),
            f"{POD}.initContainers[0].lifecycle",
            "an object",
            "restartPolicy: Always",
        ),
        wrong(
            "ephemeral-container",
            beta(f"{POD}.ephemeralContainers", [{"name": "e", "image": "e"}]),
            f"{POD}.ephemeralContainers",
            "a list",
            "nothing",
        ),
        wrong(
            "sysctl",
            beta(f"{POD}.securityContext.sysctls", [{"name": "a b", "value": "1"}]),
            f"{POD}.securityContext.sysctls[0].name",
            '"a b"',
            "net.core",
        ),
        wrong(
            "spread-twice",
            beta(f"{POD}.topologySpreadConstraints", [SPREAD, {**SPREAD, "maxSkew": 2}]),
            f"{POD}.topologySpreadConstraints[1]",
            "an object",
            "once",
        ),
        wrong(
            "empty-dir-of-a-negative-size",
            volume({"emptyDir": {"sizeLimit": "-1Gi"}}),
            f"{POD}.volumes[0].emptyDir.sizeLimit",
            '"-1Gi"',
            "0 or more",
        ),
        wrong(
            "propagation-out-of-an-ordinary-container",
            mounted({"mountPropagation": "Bidirectional"}),
            f"{MAIN}.volumeMounts[0].mountPropagation",
            '"Bidirectional"',
            "HostToContainer",
        ),
        wrong("sub-path-out", mounted({"subPath": "a/../.."}), f"{MAIN}.volumeMounts[0].subPath", "..", "relative"),
        wrong(
            "sub-path-of-the-root", mounted({"subPath": "/a"}), f"{MAIN}.volumeMounts[0].subPath", '"/a"', "relative"
        ),
        wrong(
            "sub-path-twice",
            mounted({"subPath": "a", "subPathExpr": "b"}),
            f"{MAIN}.volumeMounts[0].subPathExpr",
            '"b"',
            "one of",
        ),
        wrong(
            "users-of-their-own-and-the-hosts-processes",
            with_(beta(f"{POD}.hostUsers", False), f"{POD}.hostPID", True),
            f"{POD}.hostPID",
            "true",
            "false",
        ),
        wrong(
            "host-port-of-a-pod-on-the-hosts-network",
            with_(beta(f"{POD}.hostNetwork", True), f"{MAIN}.ports", [{"containerPort": 7000, "hostPort": 7001}]),
            f"{MAIN}.ports[0].hostPort",
            "7001",
            "the same number",
        ),
        wrong(
            "v1alpha1-host-port-of-a-pod-on-the-hosts-network",
            with_(
                alpha(f"{DECODE}.extraPodSpec.hostNetwork", True),
                f"{DECODE}.extraPodSpec.mainContainer.ports",
                [{"containerPort": 7000, "hostPort": 7001}],
            ),
            f"{DECODE}.extraPodSpec.mainContainer.ports[0].hostPort",
            "7001",
            "the same number",
        ),
        wrong(
            "device-named-as-in-a-quota",
            beta(f"{RESOURCES}.limits", {"requests.nvidia.com/gpu": 1}),
            f"{RESOURCES}.limits[requests.nvidia.com/gpu]",
            "requests.nvidia.com/gpu",
            "nvidia.com/gpu",
        ),
        wrong(
            "huge-pages-alone",
            beta(f"{MAIN}.resources.limits", {"hugepages-2Mi": "1Gi", "rdma/ib": "1"}),
            f"{MAIN}.resources.limits[hugepages-2Mi]",
            '"1Gi"',
            "cpu or memory",
        ),
        wrong(
            "annotations-too-long",
            beta("spec.annotations", {"a": "é" * 70_000, "b": "é" * 70_000}),
            "spec.annotations",
            "280002 bytes",
            "262144",
        ),
        wrong(
            "v1alpha1-name-with-a-dot",
            with_(an_alpha_graph(), "spec.services", {"my.worker": an_alpha_service()}),
            "spec.services[my.worker]",
            '"my.worker"',
            "letters, digits",
        ),
        wrong(
            "v1alpha1-storage-class",
            alpha(
                "spec.pvcs",
                [{"name": "c", "create": True, "size": "1Gi", "storageClass": "", "volumeAccessMode": "ReadWriteOnce"}],
            ),
            "spec.pvcs[0].storageClass",
            '""',
            "storageClass",
        ),
        wrong(
            "v1alpha1-host",
            alpha(f"{DECODE}.ingress", {"enabled": True, "host": "a b"}),
            f"{DECODE}.ingress.host",
            "a b",
            "a-z",
        ),
        wrong(
            "pull-secret-twice",
            beta(f"{POD}.imagePullSecrets", [{"name": "a"}, {"name": "a"}]),
            f"{POD}.imagePullSecrets[1].name",
            '"a"',
            "each once",
        ),
        wrong(
            "v1alpha1-pull-secret-twice",
            alpha(f"{DECODE}.extraPodSpec.imagePullSecrets", [{"name": "a"}, {"name": "a"}]),
            f"{DECODE}.extraPodSpec.imagePullSecrets[1].name",
            '"a"',
            "each once",
        ),
        wrong(
            "pull-secret-that-is-no-object",
            beta(f"{POD}.imagePullSecrets", ["a"]),
            f"{POD}.imagePullSecrets[0]",
            '"a"',
            "an object",
        ),
        wrong(
            "address-twice",
            beta(f"{POD}.hostAliases", [{"ip": "10.0.0.1", "hostnames": [name]} for name in "ab"]),
            f"{POD}.hostAliases[1].ip",
            '"10.0.0.1"',
            "each once",
        ),
        wrong(
            "host-name-of-an-address",
            beta(f"{POD}.hostAliases", [{"ip": "10.0.0.1", "hostnames": ["a", "B_"]}]),
            f"{POD}.hostAliases[0].hostnames[1]",
            '"B_"',
            "a-z",
        ),
        wrong(
            "gate-twice",
            beta(f"{POD}.schedulingGates", [{"name": "a/b"}, {"name": "a/b"}]),
            f"{POD}.schedulingGates[1].name",
            '"a/b"',
            "each once",
        ),
        wrong(
            "gate-of-no-name",
            beta(f"{POD}.schedulingGates", [{"name": "a b"}]),
            f"{POD}.schedulingGates[0].name",
            '"a b"',
            "prefix/name",
        ),
        wrong(
            "device-path-twice",
            beta(f"{MAIN}.volumeDevices", [{"name": name, "devicePath": "/dev/x"} for name in "ab"]),
            f"{MAIN}.volumeDevices[1].devicePath",
            '"/dev/x"',
            "each once",
        ),
        wrong(
            "restart-policy-of-a-container",
            beta(f"{MAIN}.restartPolicy", "always"),
            f"{MAIN}.restartPolicy",
            '"always"',
            "OnFailure",
        ),
        wrong(
            "cache-claim",
            beta("spec.components[1].compilationCache", {"pvcName": "a.b", "mountPath": "/c"}),
            "spec.components[1].compilationCache.pvcName",
            "a.b",
            "1 to 63",
        ),
    ],
)
def test_what_an_api_server_refuses_is_one_violation(row: Row) -> None:
    assert_only_violation(*row)


@pytest.mark.parametrize(
    "manifest",
    [
        pytest.param(volume({"configMap": {"name": "c", "defaultMode": 0o644}}), id="mode"),
        pytest.param(env({"fieldRef": {"fieldPath": "metadata.labels['a/b']"}}), id="label-field"),
        pytest.param(beta(f"{POD}.tolerations", [{"operator": "Exists"}]), id="tolerates-everything"),
        pytest.param(beta(f"{POD}.terminationGracePeriodSeconds", 2**31), id="64-bits"),
        pytest.param(nodes(operator="Gt", values=["3"]), id="greater-than"),
        pytest.param(alpha(f"{DECODE}.ingress", {"enabled": False, "host": "a b"}), id="switched-off"),
    ],
)
def test_what_an_api_server_takes_is_no_violation(manifest: dict[str, Any]) -> None:
    assert validate(manifest) == ()
