"""The fixed rules, field by field, in both directions."""

from __future__ import annotations

from typing import Any

import pytest

from dynamo_operator.convert import V1ALPHA1, V1BETA1, ConversionError, to_v1alpha1, to_v1beta1
from tests.unit.operator_plane.convert.manifests import alpha_graph, beta_graph, graph


def component(service: dict[str, Any]) -> dict[str, Any]:
    converted: dict[str, Any] = to_v1beta1(alpha_graph(w=service))["spec"]["components"][0]
    assert converted.pop("name") == "w"
    return converted


def service(component: dict[str, Any]) -> dict[str, Any]:
    converted: dict[str, Any] = to_v1alpha1(beta_graph({"name": "w", **component}))["spec"]["services"]["w"]
    return converted


def pod(**main: Any) -> dict[str, Any]:
    return {"podTemplate": {"spec": {"containers": [{"name": "main", **main}]}}}


BOTH_WAYS = [
    pytest.param({"replicas": 0}, {"replicas": 0}, id="zero-replicas-are-said"),
    pytest.param({"componentType": "frontend"}, {"type": "frontend"}, id="type"),
    pytest.param({"componentType": "worker", "subComponentType": "prefill"}, {"type": "prefill"}, id="role"),
    pytest.param({"sharedMemory": {"disabled": True}}, {"sharedMemorySize": "0"}, id="no-shared-memory"),
    pytest.param({"sharedMemory": {"size": "20Gi"}}, {"sharedMemorySize": "20Gi"}, id="shared-memory"),
    pytest.param({"scalingAdapter": {"enabled": True}}, {"scalingAdapter": {}}, id="scaling-adapter"),
    pytest.param(
        {"gpuMemoryService": {"enabled": True, "mode": "intraPod"}, "failover": {"enabled": True, "numShadows": 1}},
        {"experimental": {"gpuMemoryService": {"mode": "IntraPod"}, "failover": {"numShadows": 1}}},
        id="experimental",
    ),
    pytest.param(
        {"checkpoint": {"enabled": False}}, {"experimental": {"checkpoint": {"enabled": False}}}, id="checkpoint"
    ),
    pytest.param(
        {"volumeMounts": [{"name": "c", "mountPoint": "/c", "useAsCompilationCache": True}]},
        {"compilationCache": {"pvcName": "c", "mountPath": "/c"}},
        id="compilation-cache-alone",
    ),
    pytest.param({"envs": [{"name": "A", "value": "1"}]}, pod(env=[{"name": "A", "value": "1"}]), id="env"),
    pytest.param({"readinessProbe": {"periodSeconds": 9}}, pod(readinessProbe={"periodSeconds": 9}), id="probe"),
    pytest.param(
        {"volumeMounts": [{"name": "m", "mountPoint": "/m"}]},
        pod(volumeMounts=[{"name": "m", "mountPath": "/m"}]),
        id="volume-mount",
    ),
    pytest.param(
        {"resources": {"limits": {"cpu": "1", "gpu": "2", "custom": {"rdma/ib": "1"}}, "claims": [{"name": "gpu"}]}},
        pod(resources={"limits": {"cpu": "1", "nvidia.com/gpu": "2", "rdma/ib": "1"}, "claims": [{"name": "gpu"}]}),
        id="resources",
    ),
    pytest.param(
        {"extraPodSpec": {"nodeSelector": {"pool": "cpu"}, "mainContainer": {"image": "i:1", "tty": True}}},
        {
            "podTemplate": {
                "spec": {"nodeSelector": {"pool": "cpu"}, "containers": [{"name": "main", "image": "i:1", "tty": True}]}
            }
        },
        id="pod-spec",
    ),
    pytest.param(
        {"extraPodMetadata": {"labels": {"a": "b"}}},
        {"podTemplate": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "main"}]}}},
        id="pod-metadata",
    ),
]


@pytest.mark.parametrize("zero", ["0", "0Gi", "0.0", "+0", "0e3", 0])
def test_no_shared_memory_is_disabled_however_its_zero_is_written(zero: object) -> None:
    assert service({"sharedMemorySize": zero})["sharedMemory"] == {"disabled": True}


@pytest.mark.parametrize("size", ["0.5", "1e3", ".1Gi", 1])
def test_shared_memory_of_any_size_keeps_it(size: object) -> None:
    assert service({"sharedMemorySize": size})["sharedMemory"] == {"size": str(size)}


@pytest.mark.parametrize(("alpha", "beta"), BOTH_WAYS)
def test_field_is_said_in_both_versions(alpha: dict[str, Any], beta: dict[str, Any]) -> None:
    assert component(alpha) == beta
    assert service(beta) == alpha


UPWARDS = [
    pytest.param({"scalingAdapter": {"enabled": False}}, {}, id="disabled-adapter-is-absent"),
    pytest.param({"failover": {"enabled": False}}, {}, id="disabled-failover-is-absent"),
    pytest.param({"sharedMemory": {}}, {}, id="empty-shared-memory-is-absent"),
    pytest.param({"componentType": "main"}, {"type": "main"}, id="legacy-type-stays"),
    pytest.param({"componentType": ""}, {}, id="empty-type-is-absent"),
    pytest.param({"envFromSecret": "s"}, pod(envFrom=[{"secretRef": {"name": "s"}}]), id="secret"),
    pytest.param(
        {"resources": {"limits": {"gpu": "2", "gpuType": "gpu.intel.com/xe"}}},
        pod(resources={"limits": {"gpu.intel.com/xe": "2"}}),
        id="gpu-type-is-the-resource-name",
    ),
    pytest.param(
        {
            "envs": [{"name": "A", "value": "1"}, {"name": "B", "value": "1"}],
            "extraPodSpec": {"mainContainer": {"env": [{"name": "C", "value": "2"}, {"name": "A", "value": "2"}]}},
        },
        pod(env=[{"name": "A", "value": "2"}, {"name": "B", "value": "1"}, {"name": "C", "value": "2"}]),
        id="container-variables-win",
    ),
    pytest.param(
        {
            "volumeMounts": [{"name": "m", "mountPoint": "/m"}, {"name": "x", "mountPoint": "/x"}],
            "extraPodSpec": {"mainContainer": {"volumeMounts": [{"name": "x", "mountPath": "/x", "readOnly": True}]}},
        },
        pod(volumeMounts=[{"name": "x", "mountPath": "/x", "readOnly": True}, {"name": "m", "mountPath": "/m"}]),
        id="container-mounts-come-first",
    ),
    pytest.param(
        {
            "resources": {"limits": {"cpu": "1", "gpu": "1"}},
            "envFromSecret": "s",
            "livenessProbe": {"periodSeconds": 1},
            "extraPodSpec": {
                "mainContainer": {
                    "name": "engine",
                    "resources": {"limits": {"cpu": "2"}},
                    "envFrom": [{"configMapRef": {"name": "c"}}],
                    "livenessProbe": {"periodSeconds": 2},
                }
            },
        },
        pod(
            resources={"limits": {"cpu": "2", "nvidia.com/gpu": "1"}},
            envFrom=[{"configMapRef": {"name": "c"}}],
            livenessProbe={"periodSeconds": 2},
        ),
        id="container-fields-win",
    ),
    pytest.param(
        {
            "livenessProbe": {"httpGet": {"path": "/live", "port": 9090}, "periodSeconds": 7, "timeoutSeconds": 4},
            "readinessProbe": {"exec": {"command": ["true"]}, "initialDelaySeconds": 5, "periodSeconds": 9},
            "extraPodSpec": {
                "mainContainer": {
                    "livenessProbe": {"httpGet": {"path": "/ok"}, "periodSeconds": 3, "timeoutSeconds": 0},
                    "readinessProbe": {"tcpSocket": {"port": 1}, "periodSeconds": 2},
                }
            },
        },
        pod(
            livenessProbe={"httpGet": {"path": "/ok", "port": 9090}, "periodSeconds": 3, "timeoutSeconds": 4},
            readinessProbe={"tcpSocket": {"port": 1}, "initialDelaySeconds": 5, "periodSeconds": 2},
        ),
        id="a-probe-of-both-is-merged-and-asks-in-one-way",
    ),
    pytest.param(
        {"frontendSidecar": {"image": "f:1", "args": ["a"], "envs": [{"name": "A"}], "envFromSecret": "s"}},
        {
            "podTemplate": {
                "spec": {
                    "containers": [
                        {"name": "main"},
                        {
                            "name": "sidecar-frontend",
                            "image": "f:1",
                            "args": ["a"],
                            "env": [{"name": "A"}],
                            "envFrom": [{"secretRef": {"name": "s"}}],
                        },
                    ]
                }
            },
            "frontendSidecar": "sidecar-frontend",
        },
        id="sidecar-object-becomes-a-container",
    ),
]


@pytest.mark.parametrize(("alpha", "beta"), UPWARDS)
def test_v1alpha1_service_becomes(alpha: dict[str, Any], beta: dict[str, Any]) -> None:
    assert component(alpha) == beta


def test_a_probe_written_in_both_places_asks_in_one_way() -> None:
    request = {"httpGet": {"path": "/live", "port": "system"}, "periodSeconds": 7}
    told = {"livenessProbe": request, "readinessProbe": request}
    own = {"livenessProbe": {"tcpSocket": {"port": 1}}, "readinessProbe": {"httpGet": {"port": 1234}}}
    assert component({**told, "extraPodSpec": {"mainContainer": own}}) == pod(
        livenessProbe={"tcpSocket": {"port": 1}, "periodSeconds": 7},
        readinessProbe={"httpGet": {"path": "/live", "port": 1234}, "periodSeconds": 7},
    )


DOWNWARDS = [
    pytest.param(
        pod(envFrom=[{"secretRef": {"name": "s"}}]),
        {"extraPodSpec": {"mainContainer": {"envFrom": [{"secretRef": {"name": "s"}}]}}},
        id="env-from-stays-with-the-container",
    ),
    pytest.param(
        pod(resources={"limits": {"cpu": 4}}), {"resources": {"limits": {"cpu": "4"}}}, id="numbers-become-strings"
    ),
    pytest.param(pod(), {}, id="bare-main-container-is-unsaid"),
    pytest.param(
        {"experimental": {"grove": {"forceScalingGroup": True}}, "multinode": {"nodeCount": 2, "leader": {}}},
        {"multinode": {"nodeCount": 2}},
        id="what-v1alpha1-cannot-say-is-unsaid",
    ),
    pytest.param(
        {
            "compilationCache": {"pvcName": "c"},
            **pod(volumeMounts=[{"name": "m", "mountPath": "/m", "readOnly": True}]),
        },
        {"volumeMounts": [{"name": "c", "useAsCompilationCache": True}, {"name": "m", "mountPoint": "/m"}]},
        id="cache-comes-first-and-mounts-by-name-and-path",
    ),
]


@pytest.mark.parametrize(("beta", "alpha"), DOWNWARDS)
def test_v1beta1_component_becomes(beta: dict[str, Any], alpha: dict[str, Any]) -> None:
    assert service(beta) == alpha


def test_graph_fields_are_renamed_both_ways() -> None:
    alpha = graph(
        V1ALPHA1,
        {
            "envs": [{"name": "A", "value": "1"}],
            "topologyConstraint": {"topologyProfile": "t", "packDomain": "rack"},
            "services": {},
        },
    )
    beta = to_v1beta1(alpha)

    assert beta["spec"] == {
        "env": [{"name": "A", "value": "1"}],
        "topologyConstraint": {"clusterTopologyName": "t", "packDomain": "rack"},
        "components": [],
    }
    assert to_v1alpha1(beta) == alpha


def test_components_of_a_v1alpha1_graph_come_by_name() -> None:
    names = [entry["name"] for entry in to_v1beta1(alpha_graph(b={}, a={}, C={}))["spec"]["components"]]

    assert names == ["C", "a", "b"]


def test_components_keep_their_order_through_v1alpha1_and_new_ones_come_last() -> None:
    alpha = to_v1alpha1(beta_graph({"name": "z"}, {"name": "b"}, {"name": "m"}))
    alpha["spec"]["services"] = {"y": {}, "c": {}, **{name: {} for name in ("b", "z")}}

    assert [entry["name"] for entry in to_v1beta1(alpha)["spec"]["components"]] == ["z", "b", "c", "y"]


def test_ordered_components_take_new_ones_in_their_place() -> None:
    alpha = to_v1alpha1(beta_graph({"name": "a"}, {"name": "c"}))
    alpha["spec"]["services"]["b"] = {}

    assert [entry["name"] for entry in to_v1beta1(alpha)["spec"]["components"]] == ["a", "b", "c"]


@pytest.mark.parametrize("version", [V1ALPHA1, V1BETA1])
def test_graph_without_components_says_so_in_the_other_version(version: str) -> None:
    empty = graph(version, {})

    assert (to_v1beta1 if version == V1ALPHA1 else to_v1alpha1)(empty)["spec"] == {}


@pytest.mark.parametrize("amount", ["1000m", "0.5", "1024Mi", "4"])
def test_quantities_keep_the_users_spelling(amount: str) -> None:
    alpha = {"resources": {"limits": {"memory": amount}}, "sharedMemory": {"size": amount}}
    beta = component(alpha)

    assert beta == {**pod(resources={"limits": {"memory": amount}}), "sharedMemorySize": amount}
    assert service(beta) == alpha


def test_a_service_name_equal_to_its_key_is_kept() -> None:
    alpha = alpha_graph(w={"serviceName": "w", "replicas": 1})

    assert to_v1alpha1(to_v1beta1(alpha)) == alpha


def test_a_mount_given_in_both_places_appears_once() -> None:
    alpha = {
        "volumeMounts": [{"name": "m", "mountPoint": "/m"}],
        "extraPodSpec": {"mainContainer": {"volumeMounts": [{"name": "m", "mountPath": "/m"}]}},
    }

    assert component(alpha) == pod(volumeMounts=[{"name": "m", "mountPath": "/m"}])
    assert to_v1alpha1(to_v1beta1(alpha_graph(w=alpha))) == alpha_graph(w=alpha)


def test_a_cache_without_a_path_is_not_mounted_by_conversion() -> None:
    assert component({"volumeMounts": [{"name": "c", "useAsCompilationCache": True}]}) == {
        "compilationCache": {"pvcName": "c"}
    }


def test_unknown_fields_travel_in_the_payload() -> None:
    newer = {"inventedLater": {"a": 1}, "replicas": 1}
    alpha, beta = alpha_graph(w=newer), beta_graph({"name": "w", **newer})

    assert "inventedLater" not in to_v1beta1(alpha)["spec"]["components"][0]
    assert to_v1alpha1(to_v1beta1(alpha)) == alpha
    assert "inventedLater" not in to_v1alpha1(beta)["spec"]["services"]["w"]
    assert to_v1beta1(to_v1alpha1(beta)) == beta


@pytest.mark.parametrize("env_from", [{"a": 1}, "x", 7, ["x"], [3], [{"secretRef": "x"}]])
def test_a_sidecar_whose_secrets_are_no_list_of_references_is_refused_by_field(env_from: object) -> None:
    sidecar = {"name": "sidecar-frontend", "image": "f:1", "envFrom": env_from}
    service = {"frontendSidecar": {"image": "f:1"}, "extraPodSpec": {"containers": [sidecar]}}
    with pytest.raises(ConversionError, match=r"spec\.services\.decode\..*envFrom.*: found .*, expected"):
        to_v1beta1(graph(V1ALPHA1, {"services": {"decode": service}}))
