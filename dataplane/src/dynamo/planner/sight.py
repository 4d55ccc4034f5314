"""What a connector sees at one moment: the components that the planner scales, and where metrics are read. Frozen."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field

from dynamo.wire.cards import Role


@dataclass(frozen=True, slots=True)
class Source:
    """One process with a metrics page."""

    name: str
    """Unique among all sources, stable as long as the process may be the same."""
    url: str


class Steadiness(enum.Enum):
    """What may be written now."""

    SETTLED = "settled"
    GROWING = "growing"
    """Workers are on their way: more may be asked for, and those on their way may be cancelled."""
    BLOCKED = "blocked"
    """Nothing may be written."""


@dataclass(frozen=True, slots=True)
class Component:
    """One scaled component."""

    name: str
    desired: int
    ready: int
    present: int
    """Pods that hold their GPUs, those that are ending included."""
    gpus_per_replica: int = 1


@dataclass(frozen=True, slots=True)
class Sight:
    components: Mapping[Role, Component]
    frontends: tuple[Source, ...]
    workers: Mapping[Role, tuple[Source, ...]]
    steadiness: Steadiness = Steadiness.SETTLED
    why: str = ""
    """Of a steadiness other than settled."""
    notes: tuple[str, ...] = field(default=())
    """Assumptions that were made, for one log line each."""
