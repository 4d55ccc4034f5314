"""Values of a local run: what to start, with which environment, and when it counts as ready.

Made by `plan`, carried out by `supervise`, and written as JSON for a detached supervisor. No behaviour here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

STOP_DEADLINE_S = 10.0  # > the 5 s that processes are given to finish streams
"""A process that still runs this long after it was asked to stop is killed."""


@dataclass(frozen=True, slots=True)
class Probe:
    """Asks a process whether it is ready: HTTP GET of `path` on `port`, or a TCP connection when `path` is None."""

    port: int
    path: str | None
    timeout_s: float


@dataclass(frozen=True, slots=True)
class ProcessSpec:
    """One replica of one component."""

    name: str
    """Short and unique within the graph: `worker-0`."""
    pod: str
    """The pod's name in the rendering; what the process knows itself as (POD_NAME)."""
    component: str
    role: str
    """The component's type: frontend, worker, prefill, decode, planner, epp; empty when the manifest gives none."""
    argv: tuple[str, ...]
    env: Mapping[str, str]
    """What the rendering sets; the user's own environment is merged below it at start."""
    readiness: Probe | None
    http_port: int | None
    """Where a frontend answers clients."""
    system_port: int | None
    """Where a worker answers /health and /metrics."""
    host: str
    """Where the ports are reached from this machine; an IPv6 address stands in brackets."""
    has_shell: bool
    """The command is a shell script: signals must reach the script's children too."""


@dataclass(frozen=True, slots=True)
class Note:
    """Something of the manifest that has no effect on this machine, said once."""

    text: str
    components: tuple[str, ...]

    def __str__(self) -> str:
        return f"{', '.join(self.components)}: {self.text}" if self.components else self.text


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that `dynamo up` starts for one graph."""

    graph: str
    processes: tuple[ProcessSpec, ...]
    notes: tuple[Note, ...]
    url: str | None
    """Base URL of the first frontend; None for a graph without one."""
    serves_models: bool
    """The frontend is ours and has workers: ready means that it lists a model."""
