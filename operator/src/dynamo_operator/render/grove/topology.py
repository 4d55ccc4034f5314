"""Where Grove packs pods: topology constraints, and the overrides that users lay over them. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dynamo_operator.api import ComponentGang, GraphGang, JsonObject, ProviderOverride, thaw
from dynamo_operator.api.placement import GROVE_VERSION, Overridable
from dynamo_operator.render.errors import RenderError

Document = dict[str, Any]


def set_topology(gang: GraphGang) -> Document:
    """`topologyConstraint` of the set's template, as a mapping to merge; empty without one."""
    if gang.pack_domain is None:
        return {}
    return {"topologyConstraint": {"topologyName": gang.topology_name, "pack": {"required": gang.pack_domain}}}


def component_topology(gang: ComponentGang, graph: GraphGang) -> Document:
    """The same of a clique or scaling group; it inherits the topology's name from a set that has a constraint."""
    if gang.pack_domain is None:
        return {}
    constraint: Document = {"pack": {"required": gang.pack_domain}}
    if graph.pack_domain is None and graph.topology_name is not None:
        constraint["topologyName"] = graph.topology_name
    return {"topologyConstraint": constraint}


def overridden(document: Document, override: ProviderOverride | None, what: Overridable, owner: str) -> Document:
    """The document, which is `what`, with the override's topology constraint; raises RenderError for any other patch.

    Only placement can be overridden: anything else would take the pods out of the operator's hands.
    """
    if override is None:
        return document
    for name, found, allowed in (
        ("apiVersion", override.api_version, GROVE_VERSION),
        ("target", override.target or what.target, what.target),
    ):
        if found != allowed:
            raise RenderError(owner, f"providerOverride.{name} is {found!r}", f"allowed: {allowed}")
    _check_only(override.patch, what.path, "providerOverride.value", owner)
    merged: Document = _merged(document, thaw(override.patch))
    return merged


def _check_only(patch: Any, path: tuple[str, ...], at: str, owner: str) -> None:
    if not isinstance(patch, Mapping):
        raise RenderError(owner, f"{at} is {patch!r}", "allowed: a mapping")
    if not path:
        return
    for key, inner in patch.items():
        if key != path[0]:
            raise RenderError(owner, f"{at}.{key} is set", f"allowed: {'.'.join((at, *path))}")
        _check_only(inner, path[1:], f"{at}.{key}", owner)


def _merged(document: JsonObject, patch: JsonObject) -> Document:
    """JSON merge patch of mappings: null removes, mappings merge, the rest replaces."""
    merged = dict(document)
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        elif isinstance(value, Mapping):
            below = merged.get(key)
            merged[key] = _merged(below if isinstance(below, Mapping) else {}, value)
        else:
            merged[key] = value
    return merged
