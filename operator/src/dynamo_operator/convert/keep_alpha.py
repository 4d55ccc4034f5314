"""What v1beta1 cannot say of a v1alpha1 service: saved when it leaves v1alpha1, restored when it comes back.

Duty: `kept(service)` is the sparse service that travels in the annotation, `restored(component, kept)` the service
with it. A kept field returns only where v1beta1 cannot say it, or where it still converts to what the component says
now; so an edit made through v1beta1 wins, field by field.
Ban: reads and writes no annotation. Callers: graph.py, single.py.
"""

from __future__ import annotations

from typing import Any

from dynamo_operator.convert.component import (
    FEATURES,
    ROLES,
    SHARED,
    component_of,
    is_promoted,
    service_of,
    shared_memory_size,
    type_of,
)
from dynamo_operator.convert.documents import Document, entries, mapping, pick, same
from dynamo_operator.convert.mainfields import MAIN_FIELDS, compilation_cache, join_mounts, mount_key
from dynamo_operator.convert.podtemplate import MAIN, SIDECAR, find_container, sidecar_object
from dynamo_operator.convert.preserved import Kept

_CONVERTED = frozenset(
    {
        *SHARED,
        *FEATURES,
        *(field.dedicated for field in MAIN_FIELDS),
        "componentType",
        "subComponentType",
        "serviceName",
        "multinode",
        "sharedMemory",
        "volumeMounts",
        "scalingAdapter",
        "extraPodMetadata",
        "extraPodSpec",
        "frontendSidecar",
    }
)
_SWITCHED = ("scalingAdapter", "gpuMemoryService", "failover")
"""Blocks that v1beta1 can only say when they are enabled."""


def kept(service: Document, component: Document, *, every_origin: bool) -> Kept:
    """What is lost of `service` when it is said as `component`.

    `every_origin` also notes where each field of the main container was written when the rules alone would tell; that
    is how a service that was never v1beta1 is stored.
    """
    sparse = {key: value for key, value in service.items() if key not in _CONVERTED and value is not None}
    if service.get("componentType") in ("", *ROLES):  # v1beta1's rules would give back another spelling
        sparse["componentType"] = service["componentType"]
    if service.get("subComponentType") is not None and not is_promoted(service):
        sparse["subComponentType"] = service["subComponentType"]
    for key in _SWITCHED:
        if service.get(key) is not None and not service[key].get("enabled"):
            sparse[key] = service[key]
    sparse.update(pick(service, ["frontendSidecar"]))
    natural = service_of(component)
    if not same(natural.get("sharedMemory"), service.get("sharedMemory")):
        sparse.update(pick(service, ["sharedMemory"]))
    sparse.update(_origins(service, natural, every_origin=every_origin))
    is_enough = same(restored(component, Kept(sparse, None)), _without_name(service))
    return Kept(sparse, None if is_enough else _without_name(service))


def restored(component: Document, kept: Kept) -> Document:
    """The service of `component` with what was kept; without `serviceName`."""
    natural = service_of(component)
    if kept.exact is not None and _says(component, component_of(kept.exact)):
        return dict(kept.exact)
    sparse = kept.sparse
    service = _with_type_words({**natural, **_unsayable(natural, sparse)}, component, sparse)
    size = shared_memory_size(mapping(sparse.get("sharedMemory"), "sharedMemory"))
    if sparse.get("sharedMemory") is not None and same(size, component.get("sharedMemorySize")):
        service["sharedMemory"] = sparse["sharedMemory"]
    service = _with_sidecar_object(service, component, sparse)
    return _with_origins(service, component, sparse)


def _says(component: Document, told: Document) -> bool:
    """Whether a component says what a service was told as, apart from what no service can say.

    That `service_of` is the same is not enough: it drops which container is the sidecar, and how a volume is mounted.
    Where the service says neither, v1beta1 may.
    """
    live = {mount_key(mount): mount for mount in _mounts(component)}
    told_mounts = [mount for mount in _mounts(told) if not mount.keys() <= {"name", "mountPath"}]
    return (
        same(service_of(told), service_of(component))
        and told.get("frontendSidecar") in (None, component.get("frontendSidecar"))
        and all(same(live.get(mount_key(mount)), mount) for mount in told_mounts)
    )


def _mounts(component: Document) -> list[Document]:
    return entries((_main(component) or {}).get("volumeMounts"), "volumeMounts")


def _with_type_words(service: Document, component: Document, sparse: Document) -> Document:
    """`service` with the words of its type as they were written, if they still make the component's type."""
    words = pick(sparse, ["componentType", "subComponentType"])
    if "componentType" not in words or type_of(words) != component.get("type"):
        return service
    rest = {key: value for key, value in service.items() if key not in ("componentType", "subComponentType")}
    return {**rest, **words}


def _unsayable(natural: Document, sparse: Document) -> Document:
    """Kept fields that v1beta1 has no word for, unless something took their place."""
    switched = {key: sparse[key] for key in _SWITCHED if sparse.get(key) is not None and not sparse[key].get("enabled")}
    others = {key: value for key, value in sparse.items() if key not in _CONVERTED}
    if not is_promoted({**natural, **pick(sparse, ["subComponentType"])}):
        others.update(pick(sparse, ["subComponentType"]))
    return {key: value for key, value in {**others, **switched}.items() if key not in natural}


def _with_sidecar_object(service: Document, component: Document, sparse: Document) -> Document:
    if sparse.get("frontendSidecar") is None or component.get("frontendSidecar") != SIDECAR:
        return service
    extra = dict(service.get("extraPodSpec") or {})
    containers = entries(extra.get("containers"), "extraPodSpec.containers")
    # The object stands for the last container; elsewhere only a container can say it.
    sidecar = sidecar_object(containers[-1]) if containers and containers[-1].get("name") == SIDECAR else None
    if sidecar is None:
        return service
    extra["containers"] = containers[:-1]
    return _with_extra({**service, "frontendSidecar": sidecar}, extra)


def _origins(service: Document, natural: Document, *, every_origin: bool) -> Document:
    """Where the fields of the main container were written: {service field: …, "extraPodSpec": {"mainContainer": …}}."""
    own, natural_own = _own(service), _own(natural)
    sparse: Document = {}
    sparse_own: Document = pick(own, ["name"])
    for dedicated, inner in _places():
        pair = service.get(dedicated), own.get(inner)
        is_natural = same(pair[0], natural.get(dedicated)) and same(pair[1], natural_own.get(inner))
        if every_origin or not is_natural:
            sparse.update(pick(service, [dedicated]))
            sparse_own.update(pick(own, [inner]))
    return {**sparse, "extraPodSpec": {"mainContainer": sparse_own}} if sparse_own else sparse


def _with_origins(service: Document, component: Document, sparse: Document) -> Document:
    """`service` with each field of the main container where it was written, if it still says the same."""
    main = _main(component)
    if main is None:
        return service
    own, kept_own = _own(service), _own(sparse)
    moved = dict(service)
    for field in MAIN_FIELDS:
        pair = sparse.get(field.dedicated), kept_own.get(field.own)
        if pair != (None, None) and same(field.join(*pair), main.get(field.own)):
            moved[field.dedicated], own[field.own] = pair
    mounts = _mount_origins(sparse.get("volumeMounts"), kept_own.get("volumeMounts"), main, component)
    if mounts is not None:
        moved["volumeMounts"], own["volumeMounts"] = mounts
    if kept_own.get("name"):
        own["name"] = kept_own["name"]
    own = {key: value for key, value in own.items() if value is not None}
    moved = {key: value for key, value in moved.items() if value is not None}
    extra = {key: value for key, value in (moved.get("extraPodSpec") or {}).items() if key != "mainContainer"}
    return _with_extra(moved, {**extra, **({"mainContainer": own} if own else {})})


def _main(component: Document) -> Document | None:
    containers = ((component.get("podTemplate") or {}).get("spec") or {}).get("containers")
    return find_container(entries(containers, "podTemplate.spec.containers"), MAIN)


def _mount_origins(
    dedicated: Any, own: Any, main: Document, component: Document
) -> tuple[list[Document] | None, list[Document] | None] | None:
    """The two lists of mounts as they were kept, with the container's own ones as they are now; None if they differ."""
    if dedicated is None and own is None:
        return None
    live = {mount_key(mount): mount for mount in entries(main.get("volumeMounts"), "volumeMounts")}
    joined = [mount_key(mount) for mount in join_mounts(dedicated, own) or []]
    if joined != list(live) or not same(compilation_cache(dedicated), component.get("compilationCache")):
        return None
    return dedicated, [live[mount_key(mount)] for mount in entries(own, "volumeMounts")] or None


def _with_extra(service: Document, extra: Document) -> Document:
    """`service` with this extraPodSpec, without empty parts."""
    extra = {key: value for key, value in extra.items() if not (key == "containers" and not value)}
    rest = {key: value for key, value in service.items() if key != "extraPodSpec"}
    return {**rest, "extraPodSpec": extra} if extra else rest


def _places() -> list[tuple[str, str]]:
    return [*((field.dedicated, field.own) for field in MAIN_FIELDS), ("volumeMounts", "volumeMounts")]


def _own(service: Document) -> Document:
    extra = mapping(service.get("extraPodSpec"), "extraPodSpec")
    own = mapping(extra.get("mainContainer"), "extraPodSpec.mainContainer")
    return {key: value for key, value in own.items() if value or key not in ("name", "resources")}


def _without_name(service: Document) -> Document:
    return {key: value for key, value in service.items() if key != "serviceName"}
