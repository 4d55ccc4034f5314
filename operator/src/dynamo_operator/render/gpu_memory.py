"""GPU memory service and failover within one pod. Pure.

The GPUs move from the container to a claim that a server container and all engines share; with failover the main
container becomes an active engine and its standbys.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from dynamo_operator.api import ComponentDeployment
from dynamo_operator.api.specs import Component
from dynamo_operator.render.environment import FORWARD_PASS_PORT, SYSTEM_PORT
from dynamo_operator.render.errors import RenderError

CLAIM = "intrapod-shared-gpu"
CONTROL_VOLUME = "gms-intrapod-control"
CONTROL_PATH = "/gms-intrapod-control"
NIXL_SIDE_CHANNEL_PORT = 5600
KV_EVENT_PORT = 20080
MASTER_PORT = 29500
MASTER_PORT_STEP = 100  # engines of one pod keep this distance
GPU_RESOURCE = "nvidia.com/gpu"

_REPLACED_ENV = {
    "CONTAINER_NAME",
    "DYN_FORWARDPASS_METRIC_PORT",
    "DYN_HEALTH_CHECK_ENABLED",
    "DYN_SYSTEM_ENABLED",
    "DYN_SYSTEM_PORT",
    "DYN_SYSTEM_USE_ENDPOINT_HEALTH_STATUS",
}


def with_gpu_memory(pod: dict[str, Any], deployment: ComponentDeployment) -> dict[str, Any]:
    """The pod with its memory server and shared GPU claim; unchanged where the component asks for none."""
    component = deployment.component
    if component.gpu_memory is None:
        return pod
    main, *others = pod["containers"]
    clients = set(component.gpu_memory.extra_client_containers)
    server = {
        "name": "gms-server",
        "image": main.get("image"),
        "command": ["python3", "-m", "gpu_memory_service.cli.server"],
        "env": [{"name": "GMS_SOCKET_DIR", "value": CONTROL_PATH}],
        "resources": {"claims": [{"name": CLAIM}]},
        "restartPolicy": "Always",
        "volumeMounts": [{"name": CONTROL_VOLUME, "mountPath": CONTROL_PATH}],
    }
    main = _as_client(main)
    claim = {"name": CLAIM, "resourceClaimTemplateName": claim_template_name(deployment.parent_name, component)}
    return {
        **pod,
        "containers": [
            *_engines(main, component),
            *(_as_client(each) if each["name"] in clients else each for each in others),
        ],
        "initContainers": [*(pod.get("initContainers") or []), server],
        "resourceClaims": [*(pod.get("resourceClaims") or []), claim],
        "tolerations": _tolerating_gpus(pod.get("tolerations") or []),
        "volumes": [*(pod.get("volumes") or []), {"name": CONTROL_VOLUME, "emptyDir": {}}],
    }


def claim_template_name(parent: str, component: Component) -> str:
    """Name of the ResourceClaimTemplate that a component's pods draw their GPUs from."""
    return f"{parent}-{component.name.lower()}-gpu"


def render_claim_templates(parent: str, components: Iterable[Component]) -> list[dict[str, Any]]:
    """One ResourceClaimTemplate per component with a GPU memory service; raises RenderError for modes across pods."""
    return [_claim_template(parent, each) for each in components if each.gpu_memory is not None]


def _claim_template(parent: str, component: Component) -> dict[str, Any]:
    service = component.gpu_memory
    assert service is not None
    modes = {service.mode, component.failover.mode if component.failover else service.mode}
    if modes != {"IntraPod"}:
        raise RenderError(component.name, f"mode {', '.join(sorted(modes))}", "Deployments can only do IntraPod")
    request = {
        "name": "gpus",
        "exactly": {
            "deviceClassName": service.device_class,
            "allocationMode": "ExactCount",
            "count": _gpus(component),
        },
    }
    return {
        "apiVersion": "resource.k8s.io/v1",
        "kind": "ResourceClaimTemplate",
        "metadata": {"name": claim_template_name(parent, component)},
        "spec": {"spec": {"devices": {"requests": [request]}}},
    }


def _gpus(component: Component) -> int:
    resources = component.main.get("resources") or {}
    found = (resources.get("limits") or {}).get(GPU_RESOURCE) or (resources.get("requests") or {}).get(GPU_RESOURCE)
    if found is None or not str(found).isdigit() or int(found) < 1:
        raise RenderError(component.name, f"{GPU_RESOURCE} is {found!r}", "a GPU memory service needs 1 or more")
    return int(found)


def _as_client(container: dict[str, Any]) -> dict[str, Any]:
    """The container with the shared claim instead of GPUs of its own, and the way to the memory server."""
    resources = dict(container.get("resources") or {})
    for side in ("limits", "requests"):
        kept = {name: amount for name, amount in (resources.get(side) or {}).items() if name != GPU_RESOURCE}
        resources.pop(side, None)
        if kept:
            resources[side] = kept
    return {
        **container,
        "resources": {**resources, "claims": [*(resources.get("claims") or []), {"name": CLAIM}]},
        "env": [*(container.get("env") or []), {"name": "GMS_SOCKET_DIR", "value": CONTROL_PATH}],
        "volumeMounts": [
            *(container.get("volumeMounts") or []),
            {"name": CONTROL_VOLUME, "mountPath": CONTROL_PATH},
        ],
    }


def _engines(main: dict[str, Any], component: Component) -> list[dict[str, Any]]:
    if component.failover is None:
        return [main]
    return [_engine(main, position) for position in range(1 + component.failover.shadows)]


def _engine(main: dict[str, Any], position: int) -> dict[str, Any]:
    """Engine `position` of the pod, on ports of its own; engine 0 is the one that serves first."""
    port_name = f"system-{position}"
    own = {
        "ENGINE_ID": str(position),
        "CONTAINER_NAME": f"engine-{position}",
        "FAILOVER_LOCK_PATH": f"{CONTROL_PATH}/failover.lock",
        "DYN_SYSTEM_STARTING_HEALTH_STATUS": "notready",
        "DYN_SYSTEM_PORT": str(SYSTEM_PORT + position),
        "DYN_SYSTEM_ENABLED": "true",
        "DYN_FORWARDPASS_METRIC_PORT": str(FORWARD_PASS_PORT + position),
        "DYN_VLLM_GMS_SHADOW_MODE": "true",
        "VLLM_NIXL_SIDE_CHANNEL_PORT": str(NIXL_SIDE_CHANNEL_PORT + position),
        "DYN_VLLM_KV_EVENT_PORT": str(KV_EVENT_PORT + position),
    }
    replaced = _REPLACED_ENV | set(own)
    engine = {
        **main,
        "name": f"engine-{position}",
        "env": [
            *(each for each in main["env"] if each["name"] not in replaced),
            *({"name": name, "value": value} for name, value in own.items()),
        ],
        "ports": [{"name": port_name, "containerPort": SYSTEM_PORT + position, "protocol": "TCP"}],
        **{probe: _on_port(main[probe], port_name) for probe in PROBES if probe in main},
    }
    if position and main.get("args"):
        engine["args"] = [*main["args"], "--master-port", str(MASTER_PORT + MASTER_PORT_STEP * position)]
    return engine


PROBES = ("livenessProbe", "readinessProbe", "startupProbe")


def _on_port(probe: dict[str, Any], port: str) -> dict[str, Any]:
    if (probe.get("httpGet") or {}).get("port") not in ("system", SYSTEM_PORT):
        return probe
    return {**probe, "httpGet": {**probe["httpGet"], "port": port}}


def _tolerating_gpus(tolerations: list[dict[str, Any]]) -> list[dict[str, Any]]:
    wanted = {"key": GPU_RESOURCE, "operator": "Exists", "effect": "NoSchedule"}
    return tolerations if wanted in tolerations else [*tolerations, wanted]
