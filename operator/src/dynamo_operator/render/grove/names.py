"""Names on the Grove pathway. Pure.

Grove names pods `<set>-<index>-<group>-<index>-<clique>-<random>` and refuses sets whose names of set, group and
clique are longer together than LONGEST_TOGETHER.
"""

from __future__ import annotations

from collections.abc import Iterable

from dynamo_operator.api import Component, Graph
from dynamo_operator.render.errors import RenderError

LONGEST_TOGETHER = 45
SHORTEST_SET_NAME = 8
LEADER_SUFFIX = "ldr"
WORKER_SUFFIX = "wkr"
_FNV_OFFSET = 2166136261
_FNV_PRIME = 16777619


def pod_clique_set_name(graph: Graph) -> str:
    """The graph's name, or its beginning with four hex digits of its FNV-1a hash where that is too long for Grove."""
    room = max(SHORTEST_SET_NAME, LONGEST_TOGETHER - max(map(_length, graph.components), default=0))
    if len(graph.name) <= room:
        return graph.name
    return f"{graph.name[: room - 5]}-{_fnv1a(graph.name.encode()) & 0xFFFF:04x}"


def check_lengths(set_name: str, components: Iterable[Component]) -> None:
    """Raises RenderError for a component whose name leaves no room for the set's."""
    for component in components:
        together = len(set_name) + _length(component)
        if together > LONGEST_TOGETHER:
            found = f"Grove's names of set {set_name!r}, group and clique have {together} characters together"
            raise RenderError(component.name, found, f"allowed: {LONGEST_TOGETHER}; shorten the component's name")


def has_scaling_group(component: Component) -> bool:
    """Whether the component scales in groups of cliques instead of single pods."""
    return component.node_count > 1 or component.gang.is_scaling_group


def clique_names(component: Component) -> tuple[str, ...]:
    """The component's cliques, the leader first."""
    name = component.name.lower()
    if component.node_count > 1:
        return f"{name}-{LEADER_SUFFIX}", f"{name}-{WORKER_SUFFIX}"
    return (name,)


def child_name(graph: Graph, component: Component) -> str:
    """What Grove calls the component's PodClique, or its PodCliqueScalingGroup, in the set's only replica."""
    return f"{pod_clique_set_name(graph)}-0-{component.name.lower()}"


def _length(component: Component) -> int:
    """Characters that a component's longest names take."""
    if not has_scaling_group(component):
        return len(component.name)
    return len(component.name) + max(map(len, clique_names(component)))


def _fnv1a(data: bytes) -> int:
    """32-bit FNV-1a; public, since names made with it are looked up by others."""
    hashed = _FNV_OFFSET
    for byte in data:
        hashed = (hashed ^ byte) * _FNV_PRIME & 0xFFFFFFFF
    return hashed
