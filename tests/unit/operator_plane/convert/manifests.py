"""Manifests and generated specs that the tests of conversion share."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from hypothesis import strategies as st

from dynamo_operator.convert import V1ALPHA1, V1BETA1
from dynamo_operator.convert.documents import canonical
from tests.shared import SHARED

CORPUS = SHARED / "corpus"
CONVERTIBLE = ("DynamoGraphDeployment", "DynamoComponentDeployment", "DynamoGraphDeploymentScalingAdapter")
PAYLOADS = tuple(f"nvidia.com/{kind}-{part}" for kind in ("dgd", "dcd") for part in ("spec", "status"))


def documents(path: Path) -> Iterator[dict[str, Any]]:
    """The convertible objects of a YAML file."""
    for document in yaml.safe_load_all(path.read_text()):
        if isinstance(document, dict) and document.get("kind") in CONVERTIBLE:
            yield document


def meaning(obj: dict[str, Any]) -> object:
    """`obj` without preservation annotations, in the canonical spelling: what must survive there and back."""
    metadata = dict(obj.get("metadata") or {})
    annotations = {
        key: value for key, value in (metadata.pop("annotations", None) or {}).items() if key not in PAYLOADS
    }
    return canonical({**obj, "metadata": {**metadata, **({"annotations": annotations} if annotations else {})}})


def payload(obj: dict[str, Any]) -> dict[str, Any]:
    """The decoded payload annotations of `obj`, without empty parts (Go writes some, we don't)."""
    annotations = obj["metadata"].get("annotations") or {}
    return {key: canonical(without_empty(json.loads(annotations[key]))) for key in PAYLOADS if key in annotations}


def without_empty(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: kept for key, entry in value.items() if (kept := without_empty(entry)) not in ({}, "", [])}
    return [without_empty(entry) for entry in value] if isinstance(value, list) else value


def graph(version: str, spec: dict[str, Any], **annotations: str) -> dict[str, Any]:
    metadata: dict[str, Any] = {"name": "g", **({"annotations": annotations} if annotations else {})}
    return {"apiVersion": version, "kind": "DynamoGraphDeployment", "metadata": metadata, "spec": spec}


def alpha_graph(**services: Any) -> dict[str, Any]:
    return graph(V1ALPHA1, {"services": services})


def beta_graph(*components: dict[str, Any]) -> dict[str, Any]:
    return graph(V1BETA1, {"components": list(components)})


NAMES = st.sampled_from(["Frontend", "decode", "prefill", "a", "b"])
WORDS = st.sampled_from(["x", "y", "z"])
QUANTITIES = st.sampled_from(["1", "500m", "2Gi"])
STRING_MAPS = st.dictionaries(WORDS, WORDS, max_size=2)
ENV = st.lists(
    st.one_of(
        st.fixed_dictionaries({"name": WORDS, "value": WORDS}),
        st.fixed_dictionaries({"name": WORDS, "valueFrom": st.just({"secretKeyRef": {"name": "s", "key": "k"}})}),
    ),
    max_size=3,
    unique_by=lambda entry: entry["name"],
)
ENV_FROM = st.lists(
    st.fixed_dictionaries({"secretRef": st.fixed_dictionaries({"name": WORDS}, optional={"optional": st.booleans()})}),
    max_size=2,
)
PROBES = st.fixed_dictionaries(
    {"httpGet": st.just({"path": "/live", "port": 9090})}, optional={"periodSeconds": st.just(7)}
)
NATIVE_AMOUNTS = st.dictionaries(
    st.sampled_from(["cpu", "memory", "nvidia.com/gpu", "rdma/ib", "gpu.intel.com/xe"]),
    st.one_of(QUANTITIES, st.integers(0, 8)),
    max_size=3,
)
NATIVE_RESOURCES = st.fixed_dictionaries(
    {},
    optional={
        "requests": NATIVE_AMOUNTS,
        "limits": NATIVE_AMOUNTS,
        "claims": st.lists(st.fixed_dictionaries({"name": WORDS}, optional={"request": WORDS}), max_size=2),
    },
)
MOUNTS = st.lists(
    st.fixed_dictionaries(
        {"name": WORDS, "mountPath": st.sampled_from(["/models", "/cache"])},
        optional={"readOnly": st.just(True), "subPath": st.just("p")},
    ),
    max_size=3,
    unique_by=lambda mount: (mount["name"], mount["mountPath"]),
)
CONTAINER_FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "image": st.just("engine:1.5.0"),
    "command": st.just(["python3"]),
    "args": st.lists(WORDS, max_size=2),
    "workingDir": st.just("/w"),
    "env": ENV,
    "envFrom": ENV_FROM,
    "resources": NATIVE_RESOURCES,
    "volumeMounts": MOUNTS,
    "livenessProbe": PROBES,
    "readinessProbe": PROBES,
    "startupProbe": PROBES,
}
SIDECARS = st.lists(
    st.fixed_dictionaries(
        {"name": st.sampled_from(["side", "sidecar-frontend", "metrics"]), "image": st.just("side:1")},
        optional={key: CONTAINER_FIELDS[key] for key in ("args", "env", "envFrom", "resources", "volumeMounts")},
    ),
    max_size=2,
    unique_by=lambda container: container["name"],
)
POD_FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "nodeSelector": STRING_MAPS,
    "terminationGracePeriodSeconds": st.just(120),
    "initContainers": st.just([{"name": "warm", "image": "warm:1"}]),
}
GMS = {"deviceClassName": st.just("gpu.nvidia.com"), "extraClientContainers": st.just(["side"])}
SHARED_FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "globalDynamoNamespace": st.booleans(),
    "replicas": st.integers(0, 4),
    "minAvailable": st.integers(1, 2),
    "modelRef": st.fixed_dictionaries({"name": WORDS}, optional={"revision": WORDS}),
    "runtimeVersionOverride": st.just("1.5.0"),
    "topologyConstraint": st.just({"packDomain": "rack"}),
    "eppConfig": st.just({"config": {"plugins": [{"type": "t", "parameters": {"name": ""}}]}}),
    "multinode": st.fixed_dictionaries({"nodeCount": st.integers(2, 4)}),
}

ALPHA_AMOUNTS = st.fixed_dictionaries(
    {},
    optional={
        "cpu": QUANTITIES,
        "memory": QUANTITIES,
        "gpu": st.sampled_from(["1", "8"]),
        "gpuType": st.sampled_from(["nvidia.com/gpu", "gpu.intel.com/xe"]),
        "custom": st.dictionaries(st.sampled_from(["rdma/ib", "nvidia.com/gpu"]), QUANTITIES, max_size=2),
    },
)
ALPHA_SERVICES = st.fixed_dictionaries(
    {},
    optional={
        **SHARED_FIELDS,
        "annotations": STRING_MAPS,
        "labels": STRING_MAPS,
        "serviceName": NAMES,
        "componentType": st.sampled_from(["frontend", "worker", "prefill", "main", ""]),
        "subComponentType": st.sampled_from(["prefill", "decode", "other"]),
        "dynamoNamespace": WORDS,
        "autoscaling": st.just({"enabled": True, "minReplicas": 1, "maxReplicas": 2}),
        "ingress": st.just({"enabled": True, "host": "h"}),
        "inventedLater": st.just({"a": 1}),
        "resources": st.fixed_dictionaries({}, optional={"requests": ALPHA_AMOUNTS, "limits": ALPHA_AMOUNTS}),
        "envs": ENV,
        "envFromSecret": WORDS,
        "volumeMounts": st.lists(
            st.fixed_dictionaries(
                {"name": WORDS},
                optional={
                    "mountPoint": st.sampled_from(["/models", "/cache"]),
                    "useAsCompilationCache": st.booleans(),
                },
            ),
            max_size=3,
        ),
        "sharedMemory": st.sampled_from([{}, {"disabled": True}, {"size": "20Gi"}, {"disabled": True, "size": "1Gi"}]),
        "livenessProbe": PROBES,
        "readinessProbe": PROBES,
        "extraPodMetadata": st.fixed_dictionaries({}, optional={"annotations": STRING_MAPS, "labels": STRING_MAPS}),
        "extraPodSpec": st.fixed_dictionaries(
            {},
            optional={
                **POD_FIELDS,
                "containers": SIDECARS,
                "mainContainer": st.fixed_dictionaries(
                    {}, optional={**CONTAINER_FIELDS, "name": st.sampled_from(["", "main", "engine"])}
                ),
            },
        ),
        "scalingAdapter": st.fixed_dictionaries({}, optional={"enabled": st.booleans()}),
        "gpuMemoryService": st.fixed_dictionaries(
            {"enabled": st.booleans()}, optional={**GMS, "mode": st.sampled_from(["intraPod", "interPod"])}
        ),
        "failover": st.fixed_dictionaries({"enabled": st.booleans()}, optional={"numShadows": st.just(1)}),
        "checkpoint": st.fixed_dictionaries({}, optional={"enabled": st.booleans(), "mode": st.just("Auto")}),
        "frontendSidecar": st.fixed_dictionaries(
            {"image": st.just("front:1")},
            optional={"args": st.just(["x"]), "envFromSecret": WORDS, "envs": ENV},
        ),
    },
)
ALPHA_SPECS = st.fixed_dictionaries(
    {"services": st.dictionaries(NAMES, st.one_of(ALPHA_SERVICES, st.none()), max_size=3)},
    optional={
        "annotations": STRING_MAPS,
        "envs": ENV,
        "backendFramework": st.just("vllm"),
        "pvcs": st.just([{"name": "p", "create": False}]),
        "topologyConstraint": st.just({"topologyProfile": "t", "packDomain": "rack"}),
        "experimental": st.just({"kvTransferPolicy": {"labelKey": "k", "domain": "d"}}),
        "inventedLater": st.just(1),
    },
)

BETA_COMPONENTS = st.fixed_dictionaries(
    {"name": NAMES},
    optional={
        **SHARED_FIELDS,
        "type": st.sampled_from(["frontend", "worker", "prefill", "decode", "main"]),
        "multinode": st.fixed_dictionaries({"nodeCount": st.integers(2, 4)}, optional={"leader": st.just({"a": 1})}),
        "sharedMemorySize": st.sampled_from(["0", "20Gi", 4]),
        "compilationCache": st.fixed_dictionaries({"pvcName": WORDS}, optional={"mountPath": st.just("/cache")}),
        "scalingAdapter": st.just({}),
        "frontendSidecar": st.sampled_from(["side", "sidecar-frontend"]),
        "inventedLater": st.just({"a": 1}),
        "experimental": st.fixed_dictionaries(
            {},
            optional={
                "gpuMemoryService": st.fixed_dictionaries({}, optional={**GMS, "mode": st.just("IntraPod")}),
                "failover": st.fixed_dictionaries({}, optional={"numShadows": st.just(1)}),
                "checkpoint": st.fixed_dictionaries({"enabled": st.booleans()}),
                "grove": st.just({"forceScalingGroup": True}),
            },
        ),
        "podTemplate": st.fixed_dictionaries(
            {
                "spec": st.builds(
                    lambda main, others, pod, place: {
                        **pod,
                        "containers": [*others[:place], {"name": "main", **main}, *others[place:]],
                    },
                    st.fixed_dictionaries({}, optional=CONTAINER_FIELDS),
                    SIDECARS,
                    st.fixed_dictionaries({}, optional=POD_FIELDS),
                    st.integers(0, 2),
                )
            },
            optional={
                "metadata": st.fixed_dictionaries(
                    {}, optional={"annotations": STRING_MAPS, "labels": STRING_MAPS, "name": WORDS}
                )
            },
        ),
    },
)
BETA_SPECS = st.fixed_dictionaries(
    {"components": st.lists(BETA_COMPONENTS, max_size=3, unique_by=lambda component: component["name"])},
    optional={
        "annotations": STRING_MAPS,
        "env": ENV,
        "topologyConstraint": st.just({"clusterTopologyName": "t", "packDomain": "rack"}),
        "experimental": st.fixed_dictionaries(
            {}, optional={"kvTransferPolicy": st.just({"domain": "d"}), "componentGroups": st.just([{"name": "x"}])}
        ),
        "inventedLater": st.just(1),
    },
)
