"""The fields of the main container that v1alpha1 can write in two places.

Duty: for each such field, `join` the service's own field (`envs`, `resources` …) with the one inside
`extraPodSpec.mainContainer` into what v1beta1's container `main` says, and `split` it back.
Where both places are set, mainContainer wins, except that `env` and `volumeMounts` add up.
Ban: knows no annotation. Callers: podtemplate.py, keep_alpha.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from dynamo_operator.convert.documents import Document, entries, mapping, pick, same, text

GPU_RESOURCE = "nvidia.com/gpu"
_HANDLERS = ("exec", "grpc", "httpGet", "tcpSocket")
_NAMED = {"cpu": "cpu", "memory": "memory", GPU_RESOURCE: "gpu"}

Value: TypeAlias = Any
"""A field's JSON value, or None when the field is unset."""


@dataclass(frozen=True, slots=True)
class MainField:
    """`dedicated` is the service's key and `own` the container's; join(dedicated, own) -> v1beta1's value."""

    dedicated: str
    own: str
    join: Callable[[Value, Value], Value]
    split: Callable[[Value], tuple[Value, Value]]


def join_env(dedicated: Value, own: Value) -> Value:
    """The service's variables in their order, replaced by the container's of the same name, then its other ones."""
    theirs = {
        text(entry.get("name"), "extraPodSpec.mainContainer.env.name"): entry
        for entry in entries(own, "extraPodSpec.mainContainer.env")
    }
    merged = [theirs.pop(text(entry.get("name"), "envs.name"), entry) for entry in entries(dedicated, "envs")]
    return [*merged, *theirs.values()] or None


def join_env_from(dedicated: Value, own: Value) -> Value:
    return own or ([{"secretRef": {"name": dedicated}}] if dedicated else None)


def join_resources(dedicated: Value, own: Value) -> Value:
    """Both in the core form, the container's entries over the service's; None if nothing is asked for."""
    native = _native_resources(mapping(dedicated, "resources"))
    for key, value in mapping(own, "extraPodSpec.mainContainer.resources").items():
        amounts = native.get(key)
        native[key] = {**amounts, **mapping(value, f"resources.{key}")} if isinstance(amounts, dict) else value
    return {key: value for key, value in native.items() if value} or None


def split_resources(value: Value) -> tuple[Value, Value]:
    """Into the service's form where that can say it; else it stays with the container."""
    native = mapping(value, "resources")
    dedicated: Document = {
        key: _alpha_quantities(mapping(native[key], f"resources.{key}"))
        for key in ("requests", "limits")
        if native.get(key)
    }
    dedicated.update(pick(native, ["claims"]))
    return (dedicated or None, None) if same(join_resources(dedicated, None) or {}, native) else (None, value)


def join_probe(dedicated: Value, own: Value) -> Value:
    """What the container says over what the service says, field by field; one handler, the container's if it has one.

    A zero of the container's says nothing here: Go's merge, which this follows, cannot tell it from an absent field.
    """
    if not own or not dedicated:
        return own or dedicated
    theirs = mapping(own, "extraPodSpec.mainContainer probe")
    merged = mapping(dedicated, "probe")
    if any(theirs.get(handler) for handler in _HANDLERS):
        merged = {key: value for key, value in merged.items() if key not in _HANDLERS or theirs.get(key)}
    for key, value in theirs.items():
        both = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        if value or key not in merged:
            merged[key] = {**merged[key], **value} if both else value
    return merged


def join_mounts(dedicated: Value, own: Value) -> Value:
    """The container's mounts, then the service's that it does not have already.

    A compilation cache without a path is not mounted here: its default depends on the backend and is rendered later.
    """
    mounts = entries(own, "extraPodSpec.mainContainer.volumeMounts")
    present = {mount_key(mount) for mount in mounts}
    for entry in entries(dedicated, "volumeMounts"):
        mount = {"name": entry.get("name"), "mountPath": entry.get("mountPoint")}
        if mount["mountPath"] and mount_key(mount) not in present:
            mounts.append(mount)
            present.add(mount_key(mount))
    return mounts or None


def split_mounts(value: Value, cache: Value) -> Value:
    """The service's `volumeMounts`: the compilation cache first, then every other mount by name and path."""
    flagged: list[Document] = []
    if cache := mapping(cache, "compilationCache"):
        path = {"mountPoint": cache["mountPath"]} if cache.get("mountPath") else {}
        flagged = [{"name": cache.get("pvcName"), **path, "useAsCompilationCache": True}]
    cached = [(entry["name"], entry.get("mountPoint")) for entry in flagged]
    rest = [mount for mount in entries(value, "volumeMounts") if mount_key(mount) not in cached]
    return [*flagged, *({"name": mount.get("name"), "mountPoint": mount.get("mountPath")} for mount in rest)] or None


def compilation_cache(dedicated: Value) -> Document | None:
    """v1beta1's `compilationCache` of a service's `volumeMounts`: its first flagged entry."""
    for entry in entries(dedicated, "volumeMounts"):
        if entry.get("useAsCompilationCache"):
            path = {"mountPath": entry["mountPoint"]} if entry.get("mountPoint") else {}
            return {"pvcName": entry.get("name"), **path}
    return None


def mount_key(mount: Document) -> tuple[str | None, str | None]:
    return text(mount.get("name"), "volumeMounts.name"), text(mount.get("mountPath"), "volumeMounts.mountPath")


def _native_resources(resources: Document) -> Document:
    native: Document = {}
    for key in ("limits", "requests"):
        amounts = mapping(resources.get(key), f"resources.{key}")
        gpu_name = text(amounts.get("gpuType"), f"resources.{key}.gpuType") or GPU_RESOURCE
        named = {"cpu": amounts.get("cpu"), "memory": amounts.get("memory"), gpu_name: amounts.get("gpu")}
        native[key] = {name: value for name, value in named.items() if value not in (None, "")}
        native[key].update(mapping(amounts.get("custom"), f"resources.{key}.custom"))
    native.update(pick(resources, ["claims"]))
    return native


def _alpha_quantities(amounts: Document) -> Document:
    alpha = {_NAMED[name]: str(value) for name, value in amounts.items() if name in _NAMED}
    custom = {name: str(value) for name, value in amounts.items() if name not in _NAMED}
    return {**alpha, "custom": custom} if custom else alpha


ENV = MainField("envs", "env", join_env, lambda value: (value, None))
ENV_FROM = MainField("envFromSecret", "envFrom", join_env_from, lambda value: (None, value))
RESOURCES = MainField("resources", "resources", join_resources, split_resources)
LIVENESS = MainField("livenessProbe", "livenessProbe", join_probe, lambda value: (value, None))
READINESS = MainField("readinessProbe", "readinessProbe", join_probe, lambda value: (value, None))
MAIN_FIELDS = (ENV, ENV_FROM, RESOURCES, LIVENESS, READINESS)
"""All but `volumeMounts`, which hang together with `compilationCache` and are handled by name."""
