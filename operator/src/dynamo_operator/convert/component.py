"""One component: a v1alpha1 service <-> a v1beta1 component, by fixed rules and without anything preserved.

Duty: `component_of(service)` and `service_of(component)`. What either cannot say is dropped here; keep_alpha.py and
keep_beta.py save and restore it. Names are the caller's: a graph keys services by name, a single component has one.
Ban: no annotations. Callers: keep_alpha.py, keep_beta.py, graph.py, single.py.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from dynamo_operator.convert.documents import Document, mapping, pick
from dynamo_operator.convert.mainfields import compilation_cache
from dynamo_operator.convert.podtemplate import SIDECAR, compose, decompose

SHARED = (
    "globalDynamoNamespace",
    "replicas",
    "minAvailable",
    "modelRef",
    "runtimeVersionOverride",
    "topologyConstraint",
    "providerOverride",
    "roles",
    "eppConfig",
)
"""Fields that both versions spell alike."""

ALPHA_MULTINODE = ("nodeCount",)
FEATURES = ("gpuMemoryService", "failover", "checkpoint")
"""v1alpha1 fields of a service that v1beta1 keeps under `experimental`."""

ROLES = ("prefill", "decode")
# Zero in every spelling of a quantity ("0", "0.0", "0Gi", "0e3"), and an empty text.
_NOTHING = re.compile(r"[+-]?0*\.?0*(?:[KMGTPE]i|[numkMGTPE]|[eE][+-]?\d+)?")


def component_of(service: Document) -> Document:
    """The v1beta1 component of a service, without `name`."""
    component = pick(service, SHARED)
    component_type = type_of(service)
    if component_type is not None:
        component["type"] = component_type
    if service.get("multinode") is not None:
        component["multinode"] = service["multinode"]
    size = shared_memory_size(mapping(service.get("sharedMemory"), "sharedMemory"))
    if size is not None:
        component["sharedMemorySize"] = size
    if cache := compilation_cache(service.get("volumeMounts")):
        component["compilationCache"] = cache
    if mapping(service.get("scalingAdapter"), "scalingAdapter").get("enabled"):
        component["scalingAdapter"] = {}
    if experimental := _experimental(service):
        component["experimental"] = experimental
    if template := compose(service):
        component["podTemplate"] = template
        if service.get("frontendSidecar") is not None:
            component["frontendSidecar"] = SIDECAR
    return component


def service_of(component: Document) -> Document:
    """The v1alpha1 service of a component, without `serviceName`."""
    service = pick(component, SHARED)
    component_type = component.get("type")
    if component_type in ROLES:
        service.update(componentType="worker", subComponentType=component_type)
    elif component_type is not None:
        service["componentType"] = component_type
    if component.get("multinode") is not None:
        service["multinode"] = pick(mapping(component["multinode"], "multinode"), ALPHA_MULTINODE)
    if component.get("sharedMemorySize") is not None:
        size = str(component["sharedMemorySize"])
        service["sharedMemory"] = {"disabled": True} if _is_nothing(size) else {"size": size}
    if component.get("scalingAdapter") is not None:
        service["scalingAdapter"] = {"enabled": True}
    service.update(_features(mapping(component.get("experimental"), "experimental")))
    return {**service, **decompose(component)}


def type_of(service: Document) -> Any:
    """v1beta1's `type` of a service; None for none, which v1alpha1 may spell as an empty text."""
    written: Any = service.get("subComponentType") if is_promoted(service) else service.get("componentType")
    return None if written == "" else written


def is_promoted(service: Document) -> bool:
    """Whether `subComponentType` becomes v1beta1's `type`."""
    return service.get("componentType") == "worker" and service.get("subComponentType") in ROLES


def shared_memory_size(shared_memory: Document) -> str | None:
    """v1beta1's `sharedMemorySize`: "0" when disabled, None when nothing is said."""
    if shared_memory.get("disabled"):
        return "0"
    size = shared_memory.get("size")
    return None if size is None or _is_nothing(str(size)) else str(size)


def _is_nothing(quantity: str) -> bool:
    return _NOTHING.fullmatch(quantity) is not None


def _experimental(service: Document) -> Document:
    experimental: Document = {}
    for feature in FEATURES:
        settings = service.get(feature)
        if settings is None:
            continue
        settings = mapping(settings, feature)
        if feature == "checkpoint":
            experimental[feature] = settings
        elif settings.pop("enabled", False):
            experimental[feature] = _with_mode(settings, str.upper)
    return experimental


def _features(experimental: Document) -> Document:
    service: Document = {}
    for feature in FEATURES:
        settings = experimental.get(feature)
        if settings is None:
            continue
        settings = mapping(settings, f"experimental.{feature}")
        named = settings if feature == "checkpoint" else {"enabled": True, **_with_mode(settings, str.lower)}
        service[feature] = named
    return service


def _with_mode(settings: Document, case: Callable[[str], str]) -> Document:
    """v1alpha1 writes intraPod where v1beta1 writes IntraPod."""
    mode = settings.get("mode")
    return {**settings, "mode": case(mode[0]) + mode[1:]} if isinstance(mode, str) and mode else settings
