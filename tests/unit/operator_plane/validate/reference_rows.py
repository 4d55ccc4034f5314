"""What the rows of the reference's cases are made of: places, contexts, and one-field changes of small manifests."""

from __future__ import annotations

from typing import Any

from dynamo_operator.validate import Context
from tests.unit.operator_plane.validate.manifests import (
    MAIN,
    a_container,
    a_graph,
    a_standalone,
    an_alpha_graph,
    an_alpha_service,
    with_,
)

Document = dict[str, Any]
Admitted = dict[str, tuple[Document, Context | None]]
# Manifest, context, and where it is refused: the beginning of every path, or all paths in full.
Refused = dict[str, tuple[Document, Context | None, str | set[str]]]
# Before, after, context, and where the change is refused, likewise; empty where it is admitted.
Changed = dict[str, tuple[Document, Document, Context | None, str | set[str]]]

GROVE = Context(has_grove=True)
LWS = Context(has_leader_worker_sets=True)
POOLS = Context(has_inference_pools=True)
TOPOLOGY = Context(has_grove=True, cluster_topologies=(("t", ("zone", "rack", "host")),))
WORKER = "spec.components[1]"
ALONE = "spec.podTemplate.spec.containers[0]"
SERVICE = "spec.services[decode]"
EXECUTOR = "nvidia.com/vllm-distributed-executor-backend"
ORIGIN = "nvidia.com/dynamo-operator-origin-version"
STRATEGY = "nvidia.com/grove-update-strategy"
DISCOVERY = "nvidia.com/dynamo-kube-discovery-mode"
PROVIDER = "nvidia.com/workload-provider"
POWER = "dynamo.nvidia.com/gpu-power-limit"
GPU = {"limits": {"nvidia.com/gpu": "1"}}
TWO = {"nodeCount": 2}
PACKED = {"clusterTopologyName": "t", "packDomain": "zone"}
ADAPTED = with_(a_graph(), f"{WORKER}.scalingAdapter", {})
RESTART = {"id": "1"}


def graph(path: str, value: object) -> Document:
    return with_(a_graph(), path, value)


def alone(path: str, value: object) -> Document:
    return with_(a_standalone(), path, value)


def alpha(path: str, value: object) -> Document:
    return with_(an_alpha_graph(), path, value)


def annotated(**annotations: str) -> Document:
    keys = {"executor": EXECUTOR, "origin": ORIGIN, "strategy": STRATEGY, "discovery": DISCOVERY}
    return graph("metadata.annotations", {keys[name]: value for name, value in annotations.items()})


def ordered(**strategy: Any) -> Document:
    return a_graph(restart={"id": "1", "strategy": strategy})


def powered(value: str) -> Document:
    made = with_(a_graph(), f"{MAIN}.resources", GPU)
    return with_(made, f"{WORKER}.podTemplate.metadata", {"annotations": {POWER: value}})


def an_alpha_standalone(**spec: Any) -> Document:
    metadata = {"name": "g-decode"}
    part = {**an_alpha_service(), **spec}
    return {
        "apiVersion": "nvidia.com/v1alpha1",
        "kind": "DynamoComponentDeployment",
        "metadata": metadata,
        "spec": part,
    }


def featured(is_alone: bool = False, gpu: Document | None = None, **features: Any) -> Document:
    """A worker with these experimental features, and a GPU unless `gpu` says otherwise; alone or in a graph."""
    manifest, component = (a_standalone(), "spec") if is_alone else (a_graph(), WORKER)
    main = f"{component}.podTemplate.spec.containers[0]"
    manifest = with_(manifest, f"{main}.resources", GPU if gpu is None else gpu)
    return with_(manifest, f"{component}.experimental", features)


def clients(*names: str, is_alone: bool = False) -> Document:
    """A GPU memory service with more clients, in a pod that has a container `loader`."""
    manifest = featured(is_alone, gpuMemoryService={"extraClientContainers": list(names)})
    component = "spec" if is_alone else WORKER
    return with_(manifest, f"{component}.podTemplate.spec.containers[1]", a_container(name="loader"))


def picker(is_alone: bool = True, **fields: Any) -> Document:
    """An endpoint picker of a runtime that has no configuration of its own."""
    template = {"spec": {"containers": [a_container(image="r.example/epp:1.4.0")]}}
    if is_alone:
        return a_standalone(type="epp", podTemplate=template, **fields)
    return with_(a_graph(), "spec.components[2]", {"name": "epp", "type": "epp", "podTemplate": template, **fields})


def an_alpha_picker(is_alone: bool = True, **fields: Any) -> Document:
    part = {"componentType": "epp", "extraPodSpec": {"mainContainer": {"image": "r.example/epp:1.4.0"}}, **fields}
    return an_alpha_standalone(**part) if is_alone else alpha("spec.services[epp]", part)


def claiming(manifest: Document, claim: Document) -> Document:
    """The worker's pod with a resource claim, and its main container as the user of it."""
    made = with_(manifest, f"{WORKER}.podTemplate.spec.resourceClaims", [{"name": "device", **claim}])
    return with_(made, f"{MAIN}.resources.claims", [{"name": "device"}])


def alpha_powered(value: str, gpus: str = "1") -> Document:
    made = alpha(f"{SERVICE}.extraPodMetadata", {"annotations": {POWER: value}})
    return with_(made, f"{SERVICE}.resources", {"limits": {"gpu": gpus}})


def provided(provider: str, **spec: Any) -> Document:
    return with_(a_graph(**spec), "metadata.annotations", {PROVIDER: provider})


def an_override(target: str, value: Document) -> Document:
    return {"apiVersion": "grove.io/v1alpha1", "target": target, "value": value}


def rolling(phase: str, **spec: Any) -> Document:
    return {**a_graph(**spec), "status": {"rollingUpdate": {"phase": phase}}}


def a_transfer(**fields: Any) -> Document:
    return a_graph(experimental={"kvTransferPolicy": {"domain": "rack", **fields}})
