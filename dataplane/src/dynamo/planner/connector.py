"""The planner's port to whatever runs the graph, and the way for graphs without a control plane.

`Connector` is declared here because the loop is its consumer. Ways: `cluster` for Kubernetes, `Advisory` for a fixed
list of processes that nobody can scale.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Protocol

from dynamo.planner.sight import Component, Sight, Source
from dynamo.wire.cards import Role


class Happening(enum.Enum):
    """Reasons of Events, as people filter by them."""

    SCALED = "PlannerScaled"
    HOLDING = "PlannerHolding"
    RESUMED = "PlannerResumed"
    REFUSED = "PlannerWriteRefused"


class Connector(Protocol):
    """All calls raise ConnectorError or GraphError, and end within their own deadline."""

    async def look(self) -> Sight:
        """The graph as it is now."""

    async def scale(self, component: str, replicas: int) -> None:
        """Sets the wanted replicas; doing it twice is doing it once."""

    async def tell(self, happening: Happening, message: str, *, is_warning: bool = False) -> None:
        """Tells people who watch the graph. Best effort: raises nothing."""

    async def close(self) -> None: ...


class Advisory:
    """Fixed processes: decisions are shown, nothing is written."""

    def __init__(self, frontends: tuple[Source, ...], workers: Mapping[Role, tuple[Source, ...]]) -> None:
        components = {
            role: Component(role.value, len(found), len(found), len(found)) for role, found in workers.items()
        }
        self._sight = Sight(components, frontends, workers)

    async def look(self) -> Sight:
        return self._sight

    async def scale(self, component: str, replicas: int) -> None:
        """Nobody to ask."""

    async def tell(self, happening: Happening, message: str, *, is_warning: bool = False) -> None:
        """Nobody watches but the log."""

    async def close(self) -> None:
        """Nothing is held."""
