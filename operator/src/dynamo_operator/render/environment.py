"""Environment of containers: what each component type is given, merged under what the user set. Pure.

Names and values are the public contract that manifests, images and the data plane read.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from dynamo_operator.api import ComponentDeployment, ComponentType, JsonObject, thaw
from dynamo_operator.api.engines import CACHE_PATHS
from dynamo_operator.render import names
from dynamo_operator.render.context import RenderContext
from dynamo_operator.render.versions import STRICT_PREFIX, runtime_version

EnvVar = dict[str, Any]

HTTP_PORT = 8000
SYSTEM_PORT = 9090
NIXL_PORT = 19090
PLANNER_METRICS_PORT = 9085
FORWARD_PASS_PORT = 20380
VLLM_CACHE_PATH = CACHE_PATHS["vllm"]
CACHE_ROOT = "VLLM_CACHE_ROOT"

_REFERENCE = re.compile(r"\$\(([^)]+)\)")


def default_environment(
    deployment: ComponentDeployment, context: RenderContext, component_type: ComponentType | None, container: str
) -> list[EnvVar]:
    """What a container of this type is given before the user's entries; `component_type` is that of the container."""
    values = {
        **context.service_env,
        **_identity(deployment, context, component_type),
        **_of_type(deployment, context, component_type),
    }
    if discovery_mode(deployment) == "container":
        values |= {"CONTAINER_NAME": container, "DYN_KUBE_DISCOVERY_MODE": "container"}
    return [{"name": name, "value": value} for name, value in values.items()] + _pod_fields()


def merged(defaults: Iterable[JsonObject], chosen: Iterable[JsonObject]) -> list[EnvVar]:
    """One entry per name, the last of `chosen` winning, sorted by name.

    Kubernetes expands `$(NAME)` only from entries before it, so an entry that refers to others comes after them.
    """
    by_name = {str(each["name"]): thaw(each) for each in (*defaults, *chosen)}
    ordered: dict[str, EnvVar] = {}
    for name in sorted(by_name):
        _place(name, by_name, ordered, ())
    return list(ordered.values())


def with_cache_root(env: list[EnvVar], deployment: ComponentDeployment) -> list[EnvVar]:
    """The complete environment of a main container, and where vLLM's compilation cache is unless the user says where.

    Last, as upstream adds it, so that a take-over changes nothing; or before the first entry that refers to it.
    """
    cache = deployment.component.compilation_cache
    if cache is None or deployment.engine != "vllm" or any(each["name"] == CACHE_ROOT for each in env):
        return env
    place = next((at for at, each in enumerate(env) if f"$({CACHE_ROOT})" in str(each.get("value"))), len(env))
    return [*env[:place], {"name": CACHE_ROOT, "value": cache.mount_path or VLLM_CACHE_PATH}, *env[place:]]


def discovery_mode(deployment: ComponentDeployment) -> str:
    """`pod` or `container`: what one discovered worker is."""
    annotations = (deployment.component.pod_template.get("metadata") or {}).get("annotations") or {}
    return str(annotations.get(names.DISCOVERY_MODE, "pod"))


def discovery_backend(deployment: ComponentDeployment, context: RenderContext) -> str:
    """`kubernetes`, or what the graph's annotation names."""
    annotations = (deployment.component.pod_template.get("metadata") or {}).get("annotations") or {}
    return str(annotations.get(names.DISCOVERY_BACKEND, context.discovery_backend))


def _place(name: str, by_name: dict[str, EnvVar], ordered: dict[str, EnvVar], waiting: Sequence[str]) -> None:
    if name in ordered or name not in by_name or name in waiting:
        return
    for reference in _REFERENCE.findall(str(by_name[name].get("value") or "")):
        _place(reference, by_name, ordered, (*waiting, name))
    ordered[name] = by_name[name]


def _identity(
    deployment: ComponentDeployment, context: RenderContext, component_type: ComponentType | None
) -> dict[str, str]:
    identity = {
        "DYN_NAMESPACE": names.runtime_namespace(context.namespace, deployment),
        "DYN_PARENT_DGD_K8S_NAME": deployment.parent_name,
        "DYN_PARENT_DGD_K8S_NAMESPACE": context.namespace,
        "DYN_DISCOVERY_BACKEND": discovery_backend(deployment, context),
    }
    return identity if component_type is None else {**identity, "DYN_COMPONENT": component_type.value}


def _of_type(
    deployment: ComponentDeployment, context: RenderContext, component_type: ComponentType | None
) -> dict[str, str]:
    match component_type:
        case ComponentType.FRONTEND:
            return _frontend(deployment, context)
        case ComponentType.WORKER | ComponentType.PREFILL | ComponentType.DECODE:
            return _worker(deployment)
        case ComponentType.PLANNER:
            return {"PLANNER_PROMETHEUS_PORT": str(PLANNER_METRICS_PORT), "DYN_SYSTEM_PORT": str(SYSTEM_PORT)}
        case ComponentType.EPP:
            prefix = names.runtime_namespace(context.namespace, deployment)
            settings = {"USE_STREAMING": "true", "RUST_LOG": "info", "DYN_ENFORCE_DISAGG": "false"}
            return {**settings, "DYN_NAMESPACE_PREFIX": prefix}
        case None:
            return {}


def _frontend(deployment: ComponentDeployment, context: RenderContext) -> dict[str, str]:
    env = {
        "DYNAMO_PORT": str(HTTP_PORT),
        "DYN_HTTP_PORT": str(HTTP_PORT),
        "DYN_NAMESPACE_PREFIX": names.runtime_namespace(context.namespace, deployment),
    }
    if runtime_version(deployment.component) >= STRICT_PREFIX:
        env["DYN_NAMESPACE_PREFIX_STRICT"] = "true"
    return env


def _worker(deployment: ComponentDeployment) -> dict[str, str]:
    env = {
        "DYN_SYSTEM_ENABLED": "true",
        "DYN_SYSTEM_PORT": str(SYSTEM_PORT),
        "DYN_SYSTEM_USE_ENDPOINT_HEALTH_STATUS": '["generate"]',
        "DYN_FORWARDPASS_METRIC_PORT": str(FORWARD_PASS_PORT),
        "NIXL_TELEMETRY_ENABLE": "n",
        "NIXL_TELEMETRY_EXPORTER": "prometheus",
        "NIXL_TELEMETRY_PROMETHEUS_PORT": str(NIXL_PORT),
    }
    if runtime_version(deployment.component) < STRICT_PREFIX:
        env["DYN_HEALTH_CHECK_ENABLED"] = "false"
    if hash8 := deployment.labels.get(names.WORKER_HASH):
        env["DYN_NAMESPACE_WORKER_SUFFIX"] = hash8
    return env


def _pod_fields() -> list[EnvVar]:
    fields = {"POD_NAME": "metadata.name", "POD_NAMESPACE": "metadata.namespace", "POD_UID": "metadata.uid"}
    return [{"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}} for name, path in fields.items()]
