"""Which ports a replica listens on in its pod, and which it gets on this machine.

On a cluster every pod has its own address; here all replicas share one, so each port moves to a free one. A frontend
keeps the port that its manifest names when that is free. Pure: free ports come from the caller. Called by `plan`.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Json = Mapping[str, Any]

LISTENING = (
    "DYN_HTTP_PORT",
    "DYNAMO_PORT",
    "DYN_SYSTEM_PORT",
    "DYN_FORWARDPASS_METRIC_PORT",
    "NIXL_TELEMETRY_PROMETHEUS_PORT",
    "PLANNER_PROMETHEUS_PORT",
)
"""Variables that name a port the process itself listens on; two replicas on one machine cannot share them."""

_HTTP_FLAG = re.compile(r"--http-port(?:=|\s+)(\d+)")


@dataclass(frozen=True, slots=True)
class Ports:
    """`moved` maps each port of the pod to the one used here; `http` and `system` are new numbers."""

    moved: Mapping[int, int]
    http: int | None
    system: int | None
    evaded: int | None
    """The port that a frontend would have had, were it free."""


def assign_ports(container: Json, *, is_frontend: bool, wanted: int | None, take: Callable[[int | None], int]) -> Ports:
    """`wanted` is the frontend's port on the command line; `take(n)` gives port n or the next free one."""
    moved: dict[int, int] = {}
    http = evaded = None
    if is_frontend and (old := _http_ports(container)):
        http = wanted if wanted is not None else take(old[0])
        evaded = old[0] if wanted is None and http != old[0] else None
        moved.update(dict.fromkeys(old, http))
    system = None
    old = _system_ports(container)
    if old or not is_frontend:
        system = take(None)
        moved.update({port: system for port in old if port not in moved})
    rest = [int(port["containerPort"]) for port in container.get("ports") or ()]
    rest += [port for name in LISTENING for port in _variable(container, name)]
    for port in dict.fromkeys(rest):
        if port not in moved:
            moved[port] = take(None)
    return Ports(moved, http, system, evaded)


def named_port(container: Json, name: str) -> int | None:
    """The number that the pod gives to its port `name`."""
    found = (int(port["containerPort"]) for port in container.get("ports") or () if port.get("name") == name)
    return next(found, None)


def _http_ports(container: Json) -> list[int]:
    """What the frontend would listen on first: a flag beats the environment beats the declared port."""
    words = " ".join(str(word) for word in [*(container.get("command") or ()), *(container.get("args") or ())])
    declared = named_port(container, "http")
    return [
        *(int(port) for port in _HTTP_FLAG.findall(words)),
        *itertools.chain.from_iterable(_variable(container, name) for name in ("DYN_HTTP_PORT", "DYNAMO_PORT")),
        *([] if declared is None else [declared]),
    ]


def _system_ports(container: Json) -> list[int]:
    declared = named_port(container, "system")
    return [*_variable(container, "DYN_SYSTEM_PORT"), *([] if declared is None else [declared])]


def _variable(container: Json, name: str) -> list[int]:
    """The port that an environment variable names; none if it is unset, off (0, -1) or not a number."""
    values = (str(item.get("value", "")) for item in container.get("env") or () if item["name"] == name)
    return [int(value) for value in values if value.isdigit() and int(value) > 0]
