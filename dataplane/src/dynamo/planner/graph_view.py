"""Reads a DynamoGraphDeployment (v1beta1) as the planner needs it: who is scaled, how many are there, what may change.

Pure: documents in, frozen values out. Called by the connector of the cluster.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dynamo.planner.errors import GraphError
from dynamo.planner.sight import Steadiness
from dynamo.wire.cards import Role

Document = Mapping[str, Any]

_ROLES_OF_MODE: Mapping[str, tuple[Role, ...]] = {
    "agg": (Role.AGGREGATED,),
    "disagg": (Role.PREFILL, Role.DECODE),
    "prefill": (Role.PREFILL,),
    "decode": (Role.DECODE,),
}
_TYPES_OF_ROLE: Mapping[Role, tuple[str, ...]] = {
    Role.AGGREGATED: ("worker", "decode"),
    Role.PREFILL: ("prefill",),
    Role.DECODE: ("decode", "worker"),
}
"""In order: one generic worker stands for decode, and a lone decode component serves a graph that is not split."""
_BLOCKING_PHASES = ("Pending", "InProgress", "Failed")
_GPU = "nvidia.com/gpu"


@dataclass(frozen=True, slots=True)
class Entry:
    """One component of the graph."""

    index: int
    """Its place in `spec.components`."""
    name: str
    type: str
    replicas: int
    """0 when the graph says nothing: defaulting persists a number."""
    gpus: int
    """Per replica, from the pod template; 0: none asked for."""


@dataclass(frozen=True, slots=True)
class Standing:
    """What the operator reports of one component."""

    replicas: int
    updated: int
    ready: int


class GraphView:
    """One document, read on demand."""

    def __init__(self, document: Document) -> None:
        metadata = document.get("metadata") or {}
        self.name: str = metadata.get("name", "")
        self.uid: str = metadata.get("uid", "")
        self._generation = int(metadata.get("generation") or 0)
        self._status: Document = document.get("status") or {}
        found = (document.get("spec") or {}).get("components") or []
        self.entries = tuple(_entry(index, entry) for index, entry in enumerate(found))

    def scaled(self, mode: str) -> dict[Role, Entry]:
        """Raises GraphError when a role has no component, or more than one."""
        return {role: self._of_role(role) for role in _ROLES_OF_MODE[mode]}

    def frontends(self) -> list[Entry]:
        return [entry for entry in self.entries if entry.type == "frontend"]

    def entry(self, name: str) -> Entry:
        for entry in self.entries:
            if entry.name == name:
                return entry
        raise GraphError(f"graph {self.name}: component {name} is gone")

    def standing(self, name: str) -> Standing:
        """Zeros while the operator reports nothing of it."""
        found = (self._status.get("components") or {}).get(name) or {}
        ready = found.get("availableReplicas", found.get("readyReplicas"))
        return Standing(int(found.get("replicas") or 0), int(found.get("updatedReplicas") or 0), int(ready or 0))

    def gpus_per_replica(self, entry: Entry) -> int | None:
        """What the operator reports for this generation, else the pod template; None: neither asks for GPUs."""
        found = (self._status.get("components") or {}).get(entry.name) or {}
        reported = found.get("gpusPerReplica")
        is_current = int(self._status.get("observedGeneration") or 0) == self._generation
        if is_current and isinstance(reported, int) and reported > 0:
            return reported
        return entry.gpus or None

    def steadiness(self, desired: Mapping[str, int], ending: int) -> tuple[Steadiness, str]:
        """What may be written; `desired` by name of the scaled components, `ending` pods that still terminate."""
        observed = int(self._status.get("observedGeneration") or 0)
        if observed < self._generation:
            return Steadiness.BLOCKED, f"the operator has not seen generation {self._generation} yet"
        phase = (self._status.get("rollingUpdate") or {}).get("phase") or ""
        if phase in _BLOCKING_PHASES:
            return Steadiness.BLOCKED, f"a rolling update is {phase}"
        for entry in self.entries:
            if entry.type != "planner" and entry.name not in desired and not self._is_stable(entry, entry.replicas):
                return Steadiness.BLOCKED, f"component {entry.name} is not stable"
        moving = [name for name in desired if not self._is_stable(self.entry(name), desired[name])]
        if ending:
            return Steadiness.GROWING, f"{ending} pods are ending"
        if moving:
            return Steadiness.GROWING, f"component {moving[0]} is not stable"
        return Steadiness.SETTLED, ""

    def _is_stable(self, entry: Entry, desired: int) -> bool:
        standing = self.standing(entry.name)
        return desired == standing.updated == standing.ready

    def _of_role(self, role: Role) -> Entry:
        for kind in _TYPES_OF_ROLE[role]:
            if found := [entry for entry in self.entries if entry.type == kind]:
                return self._only(found, role)
        word = "decode" if role is Role.AGGREGATED else role.value
        named = [entry for entry in self.entries if not entry.type and word in entry.name.lower()]
        return self._only(named, role)

    def _only(self, found: Sequence[Entry], role: Role) -> Entry:
        if len(found) == 1:
            return found[0]
        types = " or ".join(_TYPES_OF_ROLE[role])
        names = ", ".join(entry.name for entry in found) or "none"
        raise GraphError(f"graph {self.name}: {role.value}: found {names}; expected one component of type {types}")


def _entry(index: int, found: Document) -> Entry:
    return Entry(index, found.get("name", ""), found.get("type") or "", int(found.get("replicas") or 0), _gpus(found))


def _gpus(found: Document) -> int:
    """GPUs of one replica, over all its containers and nodes."""
    containers = ((found.get("podTemplate") or {}).get("spec") or {}).get("containers") or []
    total = 0
    for container in containers:
        resources = container.get("resources") or {}
        limits = {**(resources.get("requests") or {}), **(resources.get("limits") or {})}
        text = str(limits.get(_GPU, "0"))
        total += int(text) if text.isdecimal() else 0
    return total * int((found.get("multinode") or {}).get("nodeCount") or 1)
