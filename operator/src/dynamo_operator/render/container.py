"""Containers: what a user wrote, laid over the defaults of the component's type. Pure.

Scalars and lists of the user win, environment is merged by name, a probe is replaced as a whole, volume mounts and
ports are added to.
"""

from __future__ import annotations

import re
from typing import Any

from dynamo_operator.api import ComponentDeployment, ComponentType, JsonObject, said, thaw
from dynamo_operator.render.context import RenderContext
from dynamo_operator.render.environment import VLLM_CACHE_PATH, default_environment, merged
from dynamo_operator.render.epp import epp_arguments
from dynamo_operator.render.errors import RenderError
from dynamo_operator.render.probes import default_ports, default_probes
from dynamo_operator.render.versions import runtime_version

Container = dict[str, Any]

SHARED_MEMORY_VOLUME = "shared-memory"
SHARED_MEMORY_PATH = "/dev/shm"  # noqa: S108 - the mount point that engines' shared memory needs
EPP_CONFIG_VOLUME = "epp-config"
_NONZERO = re.compile(r"\+?[0.]*[1-9]")
EPP_CACHE_VOLUME = "hf-cache"
PROBE_HANDLERS = ("exec", "grpc", "tcpSocket")  # beside httpGet, which all defaults use


def main_container(deployment: ComponentDeployment, context: RenderContext) -> Container:
    """The container named `main`, complete."""
    component = deployment.component
    container = _laid_over(deployment, context, component.type, component.main or {"name": "main"})
    mounts = _with_default_mounts(deployment, container.get("volumeMounts") or [])
    if mounts:
        container["volumeMounts"] = mounts
    return container


def other_containers(deployment: ComponentDeployment, context: RenderContext, main: Container) -> list[Container]:
    """Containers beside `main`, as written; only the one that frontendSidecar names gets a frontend's defaults.

    That frontend reads what the engine reads, so it also gets the mounts of the complete `main`.
    """
    component = deployment.component
    others = [each for each in component.containers if each.get("name") != "main"]
    sidecar = component.frontend_sidecar
    if sidecar is not None and sidecar not in {each.get("name") for each in others}:
        raise RenderError(
            component.name, f"frontendSidecar is {sidecar!r}", "it must name another container of the pod"
        )
    return [
        _with_mounts_of(main, _frontend_beside(deployment, context, each))
        if each.get("name") == sidecar
        else thaw(each)
        for each in others
    ]


def _frontend_beside(deployment: ComponentDeployment, context: RenderContext, written: JsonObject) -> Container:
    """A sidecar with a frontend's defaults; its probes are laid over the default ones, unlike the main container's."""
    probes = default_probes(ComponentType.FRONTEND, runtime_version(deployment.component))
    laid = {name: _probe_over(probe, written[name]) for name, probe in probes.items() if name in written}
    return _laid_over(deployment, context, ComponentType.FRONTEND, {**written, **laid})


def _probe_over(default: dict[str, Any], written: JsonObject) -> dict[str, Any]:
    """The probe with what it leaves out; a probe asks in one way, so another handler replaces the default's."""
    if any(handler in written for handler in PROBE_HANDLERS):
        default = {key: value for key, value in default.items() if key != "httpGet"}
        return {**default, **thaw(written)}
    request = {**default["httpGet"], **(thaw(written.get("httpGet")) or {})}
    return {**default, **thaw(written), "httpGet": request}


def _with_mounts_of(main: Container, sidecar: Container) -> Container:
    """The sidecar with those volumes of main's that it does not mount; memory for tensors is the engine's alone."""
    own = sidecar.get("volumeMounts") or []
    known = {SHARED_MEMORY_VOLUME, *(mount["name"] for mount in own)}
    added = [mount for mount in main.get("volumeMounts") or () if mount["name"] not in known]
    return {**sidecar, "volumeMounts": [*own, *added]} if added else sidecar


def _laid_over(
    deployment: ComponentDeployment, context: RenderContext, role: ComponentType | None, written: JsonObject
) -> Container:
    container: Container = {
        **default_probes(role, runtime_version(deployment.component)),
        **said(written, "command", "args"),
        "ports": _with_default_ports(role, thaw(written.get("ports") or ())),
        "env": merged(
            default_environment(deployment, context, role, str(written.get("name"))), written.get("env") or ()
        ),
    }
    return {**_default_command(deployment, context, role, written), **container}


def _default_command(
    deployment: ComponentDeployment, context: RenderContext, role: ComponentType | None, written: JsonObject
) -> Container:
    """Command and arguments where the user gave none; a command of the user's comes with its own arguments."""
    if role is ComponentType.EPP:
        return {"args": epp_arguments(deployment, context)}
    if written.get("command"):
        return {}
    if role is ComponentType.FRONTEND:
        return {"command": ["python3"], "args": ["-m", "dynamo.frontend"]}
    return {"command": ["/bin/sh", "-c"]}


def _with_default_ports(role: ComponentType | None, chosen: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Ports of the user first, named as the default of that number where they have no name; then the other defaults."""
    names = {port.get("name") for port in chosen}
    defaults = {port["containerPort"]: port for port in default_ports(role) if port["name"] not in names}
    named = [
        port
        if port.get("name") or port["containerPort"] not in defaults
        else {**port, "name": defaults[port["containerPort"]]["name"]}
        for port in chosen
    ]
    numbers = {port["containerPort"] for port in chosen}
    return [*named, *(port for number, port in defaults.items() if number not in numbers)]


def _with_default_mounts(deployment: ComponentDeployment, chosen: list[dict[str, Any]]) -> list[dict[str, Any]]:
    component = deployment.component
    mounts = list(chosen)
    paths = {mount.get("mountPath") for mount in chosen}
    mounts += _cache_mount(deployment, chosen)
    if component.type is ComponentType.EPP:
        if component.epp_config is not None:
            mounts.append({"name": EPP_CONFIG_VOLUME, "mountPath": "/etc/epp", "readOnly": True})
        mounts.append({"name": EPP_CACHE_VOLUME, "mountPath": "/home/nonroot/.cache"})
    if has_shared_memory(deployment) and SHARED_MEMORY_PATH not in paths:
        mounts.append({"name": SHARED_MEMORY_VOLUME, "mountPath": SHARED_MEMORY_PATH})
    return mounts


def _cache_mount(deployment: ComponentDeployment, chosen: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The compilation cache's mount, unless the user has it; the claim may be mounted at other places, too."""
    cache = deployment.component.compilation_cache
    if cache is None:
        return []
    path = _cache_path(deployment)
    there = next((mount for mount in chosen if mount.get("mountPath") == path), None)
    if there is None:
        return [{"name": cache.claim_name, "mountPath": path}]
    if there["name"] != cache.claim_name:
        found = f"compilationCache has the path {path}, where volume {there['name']!r} is mounted"
        raise RenderError(deployment.component.name, found, "allowed: a path of its own")
    return []


def has_shared_memory(deployment: ComponentDeployment) -> bool:
    """A size of zero removes /dev/shm's volume."""
    size = deployment.component.shared_memory_size
    return size is None or bool(_NONZERO.match(size))


def _cache_path(deployment: ComponentDeployment) -> str:
    cache = deployment.component.compilation_cache
    assert cache is not None
    if cache.mount_path is None and deployment.backend_framework != "vllm":
        framework = deployment.backend_framework or "an unknown engine"
        raise RenderError(
            deployment.component.name,
            f"compilationCache has no mountPath and runs {framework}",
            "only vllm has a usual place; give mountPath",
        )
    return cache.mount_path or VLLM_CACHE_PATH
