"""EndpointSlices of a graph, by component: which pods are ready, where their metrics are, which are ending. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from dynamo.planner.sight import Source

COMPONENT_LABEL = "nvidia.com/dynamo-component"


@dataclass(frozen=True, slots=True)
class _Pod:
    component: str
    name: str
    address: str
    ports: Mapping[str, int]
    is_ready: bool
    is_ending: bool


class Endpoints:
    """Built anew at each look."""

    def __init__(self, slices: Iterable[Mapping[str, Any]]) -> None:
        # A pod behind two Services, or in two slices during an update, counts once.
        self._pods = {(pod.component, pod.name): pod for one in slices for pod in _pods(one)}.values()

    def ready(self, component: str, port: str) -> list[Source]:
        """Metrics pages of the pods that serve, in order of name."""
        found = [pod for pod in self._of(component) if pod.is_ready and not pod.is_ending and port in pod.ports]
        return [
            Source(pod.name, f"http://{pod.address}:{pod.ports[port]}/metrics")
            for pod in sorted(found, key=lambda pod: pod.name)
        ]

    def ending(self, component: str) -> int:
        return sum(pod.is_ending for pod in self._of(component))

    def total(self, component: str) -> int:
        return sum(1 for _ in self._of(component))

    def _of(self, component: str) -> Iterator[_Pod]:
        return (pod for pod in self._pods if pod.component == component)


def _pods(found: Mapping[str, Any]) -> Iterator[_Pod]:
    metadata = found.get("metadata") or {}
    component = (metadata.get("labels") or {}).get(COMPONENT_LABEL)
    if component is None:
        return
    ports = {port.get("name") or "": int(port["port"]) for port in found.get("ports") or [] if port.get("port")}
    for endpoint in found.get("endpoints") or []:
        addresses = endpoint.get("addresses") or []
        if not addresses:
            continue
        conditions = endpoint.get("conditions") or {}
        address = f"[{addresses[0]}]" if ":" in addresses[0] else addresses[0]
        name = (endpoint.get("targetRef") or {}).get("name") or addresses[0]
        # An absent readiness means ready; an absent termination means none.
        is_ready = conditions.get("ready") is not False
        yield _Pod(component, name, address, ports, is_ready, bool(conditions.get("terminating")))
