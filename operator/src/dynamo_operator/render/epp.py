"""The Gateway API endpoint picker: its arguments, configuration and InferencePool. Pure."""

from __future__ import annotations

from typing import Any

import yaml

from dynamo_operator.api import Component, ComponentDeployment, ComponentType, Graph, thaw
from dynamo_operator.render import names
from dynamo_operator.render.context import RenderContext
from dynamo_operator.render.errors import RenderError
from dynamo_operator.render.probes import GRPC_HEALTH_PORT, GRPC_PORT

CONFIG_KEY = "epp-config-dynamo.yaml"
POOL_GROUP = "inference.networking.k8s.io"
CONFIG_API = {"apiVersion": "inference.networking.x-k8s.io/v1alpha1", "kind": "EndpointPickerConfig"}


def epp_component(graph: Graph) -> Component | None:
    """The graph's endpoint picker, if it has one."""
    return next((each for each in graph.components if each.type is ComponentType.EPP), None)


def epp_arguments(deployment: ComponentDeployment, context: RenderContext) -> list[str]:
    """Command-line arguments of the picker."""
    arguments = {
        "--pool-name": pool_name(deployment.parent_name),
        "--pool-namespace": context.namespace,
        "--pool-group": POOL_GROUP,
        "-v": "4",
        "--zap-encoder": "json",
        "--grpc-port": str(GRPC_PORT),
        "--grpc-health-port": str(GRPC_HEALTH_PORT),
    }
    if deployment.component.epp_config is not None:
        arguments["--config-file"] = f"/etc/epp/{CONFIG_KEY}"
    return [word for pair in arguments.items() for word in pair]


def epp_volumes(deployment: ComponentDeployment) -> list[dict[str, Any]]:
    """Volumes behind the picker's configuration and model cache."""
    volumes: list[dict[str, Any]] = []
    if deployment.component.epp_config is not None:
        config_map, key = _config_source(deployment)
        items = [{"key": key, "path": CONFIG_KEY}]
        volumes.append({"name": "epp-config", "configMap": {"name": config_map, "items": items}})
    return [*volumes, {"name": "hf-cache", "emptyDir": {}}]


def render_epp(graph: Graph, context: RenderContext) -> list[dict[str, Any]]:
    """ConfigMap (where the configuration is inline) and InferencePool of the graph's picker."""
    component = epp_component(graph)
    if component is None:
        return []
    labels = {
        names.COMPONENT: component.name,
        names.COMPONENT_TYPE: ComponentType.EPP.value,
        names.GRAPH_NAME: graph.name,
    }
    service = names.component_deployment_name(graph.name, component, None).replace(".", "-")
    return [*_config_map(graph, component, labels), _pool(graph, component, context, labels, service)]


def pool_name(graph: str) -> str:
    """Name of the graph's InferencePool."""
    return f"{graph}-pool"


def _config_map(graph: Graph, component: Component, labels: dict[str, str]) -> list[dict[str, Any]]:
    config = (component.epp_config or {}).get("config")
    if config is None:
        return []
    text = yaml.safe_dump({**CONFIG_API, **thaw(config)}, sort_keys=True)
    return [
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": f"{graph.name}-epp-config", "labels": labels},
            "data": {CONFIG_KEY: text},
        }
    ]


def _pool(
    graph: Graph, component: Component, context: RenderContext, labels: dict[str, str], service: str
) -> dict[str, Any]:
    base = names.SHARED_NAMESPACE if component.is_in_shared_namespace else f"{context.namespace}-{graph.name}"
    selector = {names.COMPONENT_CLASS: "worker", names.NAMESPACE: base.replace(".", "-")}
    return {
        "apiVersion": f"{POOL_GROUP}/v1",
        "kind": "InferencePool",
        "metadata": {"name": pool_name(graph.name), "labels": labels},
        "spec": {
            "targetPorts": [{"number": 8000}],
            "selector": {"matchLabels": selector},
            "endpointPickerRef": {
                "group": "",
                "kind": "Service",
                "name": service,
                "port": {"number": GRPC_PORT},
                "failureMode": "FailClose",
            },
        },
    }


def _config_source(deployment: ComponentDeployment) -> tuple[str, str]:
    """(ConfigMap, key) holding the picker's configuration."""
    config = deployment.component.epp_config or {}
    if "config" in config:
        return f"{deployment.parent_name}-epp-config", CONFIG_KEY
    reference = config.get("configMapRef") or {}
    if not reference.get("name"):
        raise RenderError(deployment.component.name, "eppConfig has no source", "give config, or a configMapRef's name")
    return str(reference["name"]), str(reference.get("key") or CONFIG_KEY)
