"""GPU memory service within one pod. Pure.

The GPUs move from the container to a claim that a server container and all engines share.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from dynamo_operator.api import ComponentDeployment
from dynamo_operator.api.quantity import whole_number
from dynamo_operator.api.specs import Component
from dynamo_operator.render.errors import RenderError
from dynamo_operator.render.failover import CONTROL_PATH, engines

CLAIM = "intrapod-shared-gpu"
CONTROL_VOLUME = "gms-intrapod-control"
GPU_RESOURCE = "nvidia.com/gpu"


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
            *engines(main, deployment),
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
        raise RenderError(component.name, f"mode {', '.join(sorted(modes))}", "allowed: IntraPod")
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
    count = whole_number(found)
    if count is None or count < 1:
        raise RenderError(component.name, f"{GPU_RESOURCE} is {found!r}", "a GPU memory service needs 1 or more")
    return count


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


def _tolerating_gpus(tolerations: list[dict[str, Any]]) -> list[dict[str, Any]]:
    wanted = {"key": GPU_RESOURCE, "operator": "Exists", "effect": "NoSchedule"}
    return tolerations if wanted in tolerations else [*tolerations, wanted]
