"""Pod templates of component deployments: labels, annotations, containers, volumes, identity. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from dynamo_operator.api import Component, ComponentDeployment, ComponentType, said
from dynamo_operator.render import names
from dynamo_operator.render.container import (
    SHARED_MEMORY_VOLUME,
    has_shared_memory,
    main_container,
    other_containers,
)
from dynamo_operator.render.context import RenderContext
from dynamo_operator.render.environment import discovery_backend, with_cache_root
from dynamo_operator.render.epp import epp_volumes
from dynamo_operator.render.errors import RenderError
from dynamo_operator.render.gpu_memory import with_gpu_memory
from dynamo_operator.render.multinode import Node, multinode_pod, single_pod
from dynamo_operator.render.security import secured

GRACE_S = 60
EPP_GRACE_S = 130  # a picked request may still wait for its prefill
DEFAULT_SHARED_MEMORY = "8Gi"
DEFAULT_FS_GROUP = 1000


def object_labels(deployment: ComponentDeployment, context: RenderContext) -> dict[str, str]:
    """Labels of the Deployment, and of the Service and pods, which add to them; the operator's own win."""
    component = deployment.component
    labels = {
        **deployment.labels,
        **component.preserved.labels,
        **_template_metadata(deployment, "labels"),
        names.COMPONENT: component.name,
        names.NAMESPACE: names.runtime_namespace(context.namespace, deployment),
    }
    if deployment.graph_name is not None:
        labels[names.GRAPH_NAME] = deployment.graph_name
    if component.type in (ComponentType.PREFILL, ComponentType.DECODE):
        labels[names.SUB_COMPONENT_TYPE] = str(component.type)
    elif component.preserved.sub_component_type:
        labels[names.SUB_COMPONENT_TYPE] = component.preserved.sub_component_type
    if component.model_name is not None:
        labels[names.BASE_MODEL_HASH] = names.model_hash(component.model_name)
    return labels


def object_annotations(deployment: ComponentDeployment) -> dict[str, str]:
    """Annotations of the Deployment, its Service and its pods; the origin version stays on the component deployment."""
    annotations = {**deployment.component.preserved.annotations, **_template_metadata(deployment, "annotations")}
    annotations.pop(names.ORIGIN_VERSION, None)
    if deployment.component.model_name is not None:
        annotations[names.BASE_MODEL] = deployment.component.model_name
    return annotations


def discovery_labels(deployment: ComponentDeployment, context: RenderContext) -> dict[str, str]:
    """Labels that make pods, and the EndpointSlices of Services, visible to discovery."""
    if discovery_backend(deployment, context) != "kubernetes":
        return {}
    return {names.DISCOVERY_BACKEND: "kubernetes", names.DISCOVERY_ENABLED: "true"}


def pod_template(deployment: ComponentDeployment, context: RenderContext, node: Node | None = None) -> dict[str, Any]:
    """The complete pod template, on every pathway, or that of one node of a multinode group.

    Raises RenderError for features that no pathway has.
    """
    component = deployment.component
    _check_features(component)
    annotations = object_annotations(deployment)
    labels = {
        **object_labels(deployment, context),
        **discovery_labels(deployment, context),
        names.SELECTOR: deployment.name,
    }
    if component.type is not None:
        labels[names.COMPONENT_TYPE] = component.type.value
    if annotations.get(names.ENABLE_METRICS) != "false":
        labels[names.METRICS_ENABLED] = "true"
    metadata: dict[str, Any] = {"labels": labels}
    if annotations:
        metadata["annotations"] = annotations
    return {"metadata": metadata, "spec": _pod_spec(deployment, context, node)}


def _check_features(component: Component) -> None:
    if component.has_checkpoint:
        raise RenderError(component.name, "experimental.checkpoint is enabled", "checkpoints are not supported")
    if component.failover is not None and component.gpu_memory is None:
        raise RenderError(component.name, "experimental.failover is set", "it needs experimental.gpuMemoryService")


def _pod_spec(deployment: ComponentDeployment, context: RenderContext, node: Node | None) -> dict[str, Any]:
    component = deployment.component
    written = said(component.pod_template.get("spec") or {})
    main = main_container(deployment, context)
    pod: dict[str, Any] = {
        "terminationGracePeriodSeconds": EPP_GRACE_S if component.type is ComponentType.EPP else GRACE_S,
        "restartPolicy": "Always",
        "securityContext": {"fsGroup": DEFAULT_FS_GROUP},
        "serviceAccountName": _account(deployment),
        **written,
        "containers": [main, *other_containers(deployment, context, main)],
        "volumes": [*(written.get("volumes") or []), *_added_volumes(deployment, main, written.get("volumes") or [])],
    }
    if not pod["volumes"]:
        del pod["volumes"]
    _add_pull_secrets(pod, deployment, context)
    pod = single_pod(pod, deployment) if node is None else multinode_pod(pod, deployment, context, node)
    pod["containers"][0]["env"] = with_cache_root(pod["containers"][0]["env"], deployment)
    if "volumes" in pod:
        pod["volumes"] = _in_order_of_mounts(pod["volumes"], pod["containers"][0])
    pod = with_gpu_memory(pod, deployment)
    return secured(pod) if context.secures_workloads else pod


def _account(deployment: ComponentDeployment) -> str:
    match deployment.component.type:
        case ComponentType.PLANNER:
            return names.PLANNER_ACCOUNT
        case ComponentType.EPP:
            return names.EPP_ACCOUNT
        case _:
            return names.discovery_account_name(deployment.parent_name)


def _added_volumes(
    deployment: ComponentDeployment, main: dict[str, Any], written: Iterable[dict[str, Any]]
) -> list[dict[str, Any]]:
    """Volumes the operator adds: configuration, shared memory, and a claim for each mount that has no volume."""
    component = deployment.component
    own = epp_volumes(deployment) if component.type is ComponentType.EPP else []
    mounted = dict.fromkeys(mount["name"] for mount in main.get("volumeMounts") or [])
    if has_shared_memory(deployment) and SHARED_MEMORY_VOLUME in mounted:
        size = component.shared_memory_size or DEFAULT_SHARED_MEMORY
        own.append({"name": SHARED_MEMORY_VOLUME, "emptyDir": {"medium": "Memory", "sizeLimit": size}})
    present = {volume.get("name") for volume in (*written, *own)}
    claims = [{"name": name, "persistentVolumeClaim": {"claimName": name}} for name in mounted if name not in present]
    return [*claims, *(volume for volume in own if volume["name"] not in {each.get("name") for each in written})]


def _in_order_of_mounts(volumes: list[dict[str, Any]], main: dict[str, Any]) -> list[dict[str, Any]]:
    """Those that the main container mounts first, as it does; upstream's order, so that a take-over changes nothing."""
    places = {mount["name"]: place for place, mount in reversed(list(enumerate(main.get("volumeMounts") or ())))}
    return sorted(volumes, key=lambda volume: places.get(volume["name"], len(places) + len(volumes)))


def _add_pull_secrets(pod: dict[str, Any], deployment: ComponentDeployment, context: RenderContext) -> None:
    """Secrets known for the registries of the pod's images, after those the user listed."""
    listed = [secret["name"] for secret in pod.get("imagePullSecrets") or []]
    containers = [*pod["containers"], *(pod.get("initContainers") or [])]
    if _template_metadata(deployment, "annotations").get(names.OWN_PULL_SECRETS_ONLY) != "true":
        for container in containers:
            listed += context.pull_secret_names.get(_registry(str(container.get("image") or "")), ())
    if listed:
        pod["imagePullSecrets"] = [{"name": name} for name in dict.fromkeys(listed)]


def _registry(image: str) -> str:
    """The registry host of an image reference; empty where none is written."""
    host, slash, _ = image.partition("/")
    is_host = bool(slash) and ("." in host or ":" in host or host == "localhost")
    return host if is_host else ""


def _template_metadata(deployment: ComponentDeployment, key: str) -> dict[str, str]:
    metadata = deployment.component.pod_template.get("metadata") or {}
    return {name: text for name, text in (metadata.get(key) or {}).items() if text is not None}
