"""What a graph says to a scheduler of gangs: where its pods go together, and how few of them are enough.

Only the Grove pathway reads this. Pure; called by `parse`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dynamo_operator.api.documents import (
    EMPTY,
    JsonObject,
    freeze,
    read_count,
    read_flag,
    read_object,
    read_text,
    require_text,
)

ROLES = ("leader", "worker")


@dataclass(frozen=True, slots=True)
class ProviderOverride:
    """A patch that a user lays over one rendered object of the workload provider, in that object's own words.

    target: the object's kind; empty where the manifest leaves it to the override's place.
    """

    api_version: str
    target: str
    patch: JsonObject


@dataclass(frozen=True, slots=True)
class GraphGang:
    """Placement of the whole graph; `topology_name` names a cluster topology, `pack_domain` one of its levels."""

    priority_class_name: str | None
    topology_name: str | None
    pack_domain: str | None
    override: ProviderOverride | None


@dataclass(frozen=True, slots=True)
class ComponentGang:
    """Placement of one component.

    min_available: replicas (pods of a single-node component) without which the gang does not start; None for 1.
    role_overrides: overrides of the leader's and the worker's pods of a multinode component, by role.
    is_scaling_group: whether a single-node component, too, scales in groups of one pod.
    """

    min_available: int | None
    pack_domain: str | None
    override: ProviderOverride | None
    role_overrides: Mapping[str, ProviderOverride]
    is_scaling_group: bool


def read_graph_gang(spec: JsonObject) -> GraphGang:
    """The gang fields of a graph's `spec`; raises SpecError."""
    topology = read_object(spec, "topologyConstraint", "spec")
    at = "spec.topologyConstraint"
    return GraphGang(
        priority_class_name=read_text(spec, "priorityClassName", "spec") or None,
        topology_name=None if topology is None else require_text(topology, "clusterTopologyName", at),
        pack_domain=None if topology is None else read_text(topology, "packDomain", at) or None,
        override=_override(spec, "spec"),
    )


def read_component_gang(entry: JsonObject, path: str) -> ComponentGang:
    """The gang fields of a component; raises SpecError."""
    multinode = read_object(entry, "multinode", path) or EMPTY
    topology = read_object(entry, "topologyConstraint", path)
    grove = read_object(read_object(entry, "experimental", path) or EMPTY, "grove", f"{path}.experimental") or EMPTY
    roles = {role: read_object(multinode, role, f"{path}.multinode") or EMPTY for role in ROLES}
    overrides = {role: _override(fields, f"{path}.multinode.{role}") for role, fields in roles.items()}
    least = None if entry.get("minAvailable") is None else read_count(entry, "minAvailable", path, default=1, least=1)
    return ComponentGang(
        min_available=least,
        pack_domain=None if topology is None else require_text(topology, "packDomain", f"{path}.topologyConstraint"),
        override=_override(entry, path),
        role_overrides=freeze({role: override for role, override in overrides.items() if override is not None}),
        is_scaling_group=read_flag(grove, "forceScalingGroup", f"{path}.experimental.grove"),
    )


def _override(fields: JsonObject, path: str) -> ProviderOverride | None:
    override = read_object(fields, "providerOverride", path)
    if override is None:
        return None
    at = f"{path}.providerOverride"
    return ProviderOverride(
        api_version=require_text(override, "apiVersion", at),
        target=read_text(override, "target", at) or "",
        patch=freeze(read_object(override, "value", at) or EMPTY),
    )
