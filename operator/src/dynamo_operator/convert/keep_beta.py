"""What v1alpha1 cannot say of a v1beta1 component: saved when it leaves v1beta1, restored when it comes back.

Duty: the mirror of keep_alpha.py. Lists are matched by their key (a container's name, a mount's name and path), so an
edit made through v1alpha1 changes what it touches and nothing beside it.
Ban: reads and writes no annotation. Callers: graph.py, single.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from dynamo_operator.convert.component import ALPHA_MULTINODE, FEATURES, SHARED, component_of, service_of
from dynamo_operator.convert.documents import Document, entries, mapping, same
from dynamo_operator.convert.mainfields import mount_key
from dynamo_operator.convert.podtemplate import MAIN, find_container
from dynamo_operator.convert.preserved import Kept

_CONVERTED = frozenset(
    {
        *SHARED,
        "name",
        "type",
        "multinode",
        "sharedMemorySize",
        "compilationCache",
        "scalingAdapter",
        "experimental",
        "podTemplate",
        "frontendSidecar",
    }
)
_NESTED = {"multinode": ALPHA_MULTINODE, "experimental": FEATURES}
"""Blocks of which v1alpha1 knows only these entries."""


def kept(component: Document, service: Document) -> Kept:
    """What is lost of `component` when it is said as `service`."""
    projected = component_of(service)
    sparse = {key: value for key, value in component.items() if key not in _CONVERTED and value is not None}
    for key, known in _NESTED.items():
        block = mapping(component.get(key), key)
        if unknown := {inner: value for inner, value in block.items() if inner not in known and value is not None}:
            sparse[key] = unknown
    if not same(component.get("frontendSidecar"), projected.get("frontendSidecar")):
        sparse["frontendSidecar"] = component.get("frontendSidecar")
    if template := _kept_template(component, projected):
        sparse["podTemplate"] = template
    whole = {key: value for key, value in component.items() if key != "name"}
    is_enough = same(restored(service, Kept(sparse, None)), whole)
    return Kept(sparse, None if is_enough else whole)


def restored(service: Document, kept: Kept) -> Document:
    """The component of `service` with what was kept; without `name`."""
    natural = component_of(service)
    if kept.exact is not None and _is_unchanged(kept.exact, natural):
        return dict(kept.exact)
    sparse = kept.sparse
    component = dict(natural)
    component.update({key: value for key, value in sparse.items() if key not in _CONVERTED and key not in natural})
    for key, known in _NESTED.items():
        extra = {inner: value for inner, value in mapping(sparse.get(key), key).items() if inner not in known}
        # Without the block itself, v1alpha1 has no multinode; experimental is only a folder.
        if extra and (key == "experimental" or key in component):
            component[key] = {**extra, **component.get(key, {})}
    if isinstance(sparse.get("podTemplate"), Mapping) and "podTemplate" in component:
        component["podTemplate"] = _restored_template(component, mapping(sparse["podTemplate"], "podTemplate"))
    reference = sparse.get("frontendSidecar")
    if reference and "frontendSidecar" not in component and _container(component, reference):
        component["frontendSidecar"] = reference
    return component


def _kept_template(component: Document, projected: Document) -> Document:
    """Pod metadata that is neither annotation nor label, the place of `main`, and all its mounts."""
    template = mapping(component.get("podTemplate"), "podTemplate")
    metadata = mapping(template.get("metadata"), "podTemplate.metadata")
    kept_metadata = {
        key: value for key, value in metadata.items() if key not in ("annotations", "labels") and value is not None
    }
    names = [entry.get("name") for entry in _containers(component)]
    containers: list[Document] = []
    if names != [entry.get("name") for entry in _containers(projected)]:
        containers = [{"name": name} for name in names]
    main, projected_main = _container(component, MAIN), _container(projected, MAIN)
    if main and not same(main.get("volumeMounts"), (projected_main or {}).get("volumeMounts")):
        containers = containers or [{"name": MAIN}]
        _require(containers, MAIN)["volumeMounts"] = main.get("volumeMounts") or []
    elif main and main.get("volumeMounts") and containers:
        # A listed main container without mounts means: it had none.
        _require(containers, MAIN)["volumeMounts"] = main["volumeMounts"]
    kept_spec = {"spec": {"containers": containers}} if containers else {}
    return {**({"metadata": kept_metadata} if kept_metadata else {}), **kept_spec}


def _restored_template(component: Document, kept: Document) -> Document:
    template = dict(component["podTemplate"])
    kept_metadata = mapping(kept.get("metadata"), "podTemplate.metadata")
    extra = {key: value for key, value in kept_metadata.items() if key not in ("annotations", "labels")}
    if metadata := {
        **{key: value for key, value in extra.items() if value is not None},
        **template.get("metadata", {}),
    }:
        template["metadata"] = metadata
    listed = entries(mapping(kept.get("spec"), "podTemplate.spec").get("containers"), "podTemplate.spec.containers")
    containers = [dict(entry) for entry in template["spec"]["containers"]]
    kept_main, main = find_container(listed, MAIN), find_container(containers, MAIN)
    if kept_main is not None and main is not None:
        mounts = _restored_mounts(main, entries(kept_main.get("volumeMounts"), "volumeMounts"), component)
        main.pop("volumeMounts", None)
        if mounts:
            main["volumeMounts"] = mounts
    # v1alpha1 can say the order of the other containers, but not where `main` stands among them.
    containers = _placed(containers, listed, lambda entry: entry.get("name") == MAIN, lambda entry: entry.get("name"))
    return {**template, "spec": {**template["spec"], "containers": containers}}


def _restored_mounts(main: Document, listed: list[Document], component: Document) -> list[Document]:
    """Today's mounts, with the kept settings of those of which v1alpha1 only says name and path.

    The compilation cache's own mount is put where it was, or left out if it was not there: v1alpha1 cannot say either.
    """
    cache = mapping(component.get("compilationCache"), "compilationCache")
    cache_key = (cache.get("pvcName"), cache.get("mountPath"))
    known = {mount_key(mount): mount for mount in listed}
    mounts: list[Document] = []
    for mount in entries(main.get("volumeMounts"), "volumeMounts"):
        key = mount_key(mount)
        if key != cache_key or key in known:
            mounts.append(known.get(key, mount) if mount.keys() <= {"name", "mountPath"} else mount)
    return _placed(mounts, listed, lambda mount: mount_key(mount) == cache_key, mount_key)


def _placed(
    present: list[Document],
    listed: list[Document],
    is_moved: Callable[[Document], bool],
    key: Callable[[Document], object],
) -> list[Document]:
    """`present` with the one that `is_moved` behind those that stood before it in `listed`; else as they are."""
    moved = next((entry for entry in present if is_moved(entry)), None)
    at = next((place for place, entry in enumerate(listed) if is_moved(entry)), None)
    if moved is None or at is None:
        return present
    earlier = [key(entry) for entry in listed[:at]]
    others = [entry for entry in present if entry is not moved]
    place = max((place + 1 for place, entry in enumerate(others) if key(entry) in earlier), default=0)
    return [*others[:place], moved, *others[place:]]


def _is_unchanged(exact: Document, natural: Document) -> bool:
    """Whether v1alpha1 still says of this component what it was told."""
    told = component_of(service_of(exact))
    reference = exact.get("frontendSidecar")
    if reference is not None and natural.get("frontendSidecar") == reference:
        told["frontendSidecar"] = reference  # told as an object only where v1alpha1 had one before
    return same(_bared(told), _bared(natural))


def _bared(component: Document) -> Document:
    """Without a pod template that says nothing; some spellings of v1alpha1 create one."""
    says_nothing = same(component.get("podTemplate"), {"spec": {"containers": [{"name": MAIN}]}})
    return {key: value for key, value in component.items() if key != "podTemplate"} if says_nothing else component


def _containers(component: Mapping[str, Any]) -> list[Document]:
    template = mapping(component.get("podTemplate"), "podTemplate")
    spec = mapping(template.get("spec"), "podTemplate.spec")
    return entries(spec.get("containers"), "podTemplate.spec.containers")


def _container(component: Mapping[str, Any], name: object) -> Document | None:
    return find_container(_containers(component), name)


def _require(containers: list[Document], name: str) -> Document:
    found = find_container(containers, name)
    assert found is not None, name
    return found
