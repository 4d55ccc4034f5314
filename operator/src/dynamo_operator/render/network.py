"""Services, ingress and virtual services of a component deployment. Pure."""

from __future__ import annotations

from typing import Any

from dynamo_operator.api import ComponentDeployment, ComponentType, JsonObject, thaw
from dynamo_operator.render import names
from dynamo_operator.render.context import RenderContext
from dynamo_operator.render.environment import HTTP_PORT, SYSTEM_PORT, discovery_backend
from dynamo_operator.render.pod import discovery_labels, object_annotations, object_labels
from dynamo_operator.render.probes import GRPC_PORT


def render_service(deployment: ComponentDeployment, context: RenderContext) -> list[dict[str, Any]]:
    """The component's Service; only frontends and endpoint pickers have one where discovery is not Kubernetes'."""
    component = deployment.component
    is_public = component.type in (ComponentType.FRONTEND, ComponentType.EPP)
    if discovery_backend(deployment, context) != "kubernetes" and not is_public:
        return []
    labels = {**object_labels(deployment, context), **discovery_labels(deployment, context)}
    selector = {names.COMPONENT: component.name, names.NAMESPACE: labels[names.NAMESPACE]}
    if component.type is not None:
        selector[names.COMPONENT_TYPE] = component.type.value
    metadata = _metadata(names.service_name(deployment), labels, object_annotations(deployment))
    return [_service(metadata, {"type": "ClusterIP", "selector": selector, "ports": [_port(deployment)]})]


def render_model_service(deployment: ComponentDeployment) -> list[dict[str, Any]]:
    """The headless Service over all pods that serve a base model; LoRA adapters are loaded through it."""
    model = deployment.component.model_name
    if model is None:
        return []
    hash8 = names.model_hash(model)
    labels = {names.BASE_MODEL_HASH: hash8, names.MANAGED_BY: names.OPERATOR}
    metadata = _metadata(f"dynamo-model-{hash8}", labels, {names.BASE_MODEL: model})
    ports = [{"name": "system", "port": SYSTEM_PORT, "targetPort": SYSTEM_PORT, "protocol": "TCP"}]
    spec = {"type": "ClusterIP", "clusterIP": "None", "selector": {names.BASE_MODEL_HASH: hash8}, "ports": ports}
    return [_service(metadata, spec)]


def render_ingress(deployment: ComponentDeployment, context: RenderContext) -> list[dict[str, Any]]:
    """Ingress or VirtualService that a v1alpha1 form enabled, or that the operator gives every graph's frontend."""
    ingress = _ingress(deployment, context)
    if not ingress.get("enabled"):
        return []
    host = _host(deployment, context)
    name = names.service_name(deployment)
    metadata = _metadata(name, dict(ingress.get("labels") or {}), dict(ingress.get("annotations") or {}))
    gateway = ingress.get("virtualServiceGateway") or context.ingress.virtual_service_gateway
    if ingress.get("useVirtualService") and gateway:
        return [_virtual_service(metadata, host, str(gateway), name)]
    backend = {"service": {"name": name, "port": {"number": HTTP_PORT}}}
    path = {"path": "/", "pathType": "Prefix", "backend": backend}
    spec: dict[str, Any] = {"rules": [{"host": host, "http": {"paths": [path]}}]}
    class_name = ingress.get("ingressControllerClassName") or context.ingress.class_name
    if class_name:
        spec["ingressClassName"] = class_name
    secret = (ingress.get("tls") or {}).get("secretName") or context.ingress.tls_secret_name
    if secret:
        spec["tls"] = [{"hosts": [host], "secretName": secret}]
    return [{"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": metadata, "spec": spec}]


def _ingress(deployment: ComponentDeployment, context: RenderContext) -> JsonObject:
    """The component's own block; a frontend of a graph without one gets what the operator's configuration names."""
    component, usual = deployment.component, context.ingress
    is_usual = component.type is ComponentType.FRONTEND and deployment.graph_name is not None
    if component.preserved.ingress or not is_usual:
        return component.preserved.ingress
    is_virtual = usual.virtual_service_gateway is not None
    return {"enabled": is_virtual or usual.class_name is not None, "useVirtualService": is_virtual}


def _port(deployment: ComponentDeployment) -> dict[str, Any]:
    component = deployment.component
    match component.type:
        case ComponentType.FRONTEND:
            return {"name": "http", "port": HTTP_PORT, "targetPort": "http", "protocol": "TCP"}
        case ComponentType.EPP:
            port = {"name": "grpc", "port": GRPC_PORT, "targetPort": GRPC_PORT, "protocol": "TCP"}
            return {**port, "appProtocol": "http2"}
        case _:
            # With failover the pod's engines have a port each; engine 0 serves first.
            target = "system" if component.failover is None else "system-0"
            return {"name": "system", "port": SYSTEM_PORT, "targetPort": target, "protocol": "TCP"}


def _host(deployment: ComponentDeployment, context: RenderContext) -> str:
    """`<prefix><host>.<suffix>`; the suffix is always added, as existing manifests expect."""
    ingress = deployment.component.preserved.ingress
    stem = f"{ingress.get('hostPrefix') or ''}{ingress.get('host') or ''}" or deployment.parent_name
    return f"{stem}.{ingress.get('hostSuffix') or context.ingress.host_suffix}"


def _virtual_service(metadata: dict[str, Any], host: str, gateway: str, service: str) -> dict[str, Any]:
    route = {"destination": {"host": service, "port": {"number": HTTP_PORT}}}
    http = [{"match": [{"uri": {"prefix": "/"}}], "route": [route]}]
    return {
        "apiVersion": "networking.istio.io/v1beta1",
        "kind": "VirtualService",
        "metadata": metadata,
        "spec": {"hosts": [host], "gateways": [gateway], "http": http},
    }


def _metadata(name: str, labels: dict[str, str], annotations: dict[str, str]) -> dict[str, Any]:
    metadata: dict[str, Any] = {"name": name}
    if labels:
        metadata["labels"] = thaw(labels)
    if annotations:
        metadata["annotations"] = thaw(annotations)
    return metadata


def _service(metadata: dict[str, Any], spec: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec}
