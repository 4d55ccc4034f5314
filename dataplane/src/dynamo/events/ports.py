"""What the event plane needs from its users: somebody who keeps the state, and somebody who fetches it.

`KvSink` is satisfied by a router; `StateSource` by `dynamo.events.state_client`. No code here, only the seams.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from dynamo.wire.cards import WorkerCard
from dynamo.wire.router_events import Hashes, KvState, Load, Tier


class KvSink(Protocol):
    """Keeps what each (worker, data-parallel rank) has cached. All verbs are idempotent and cheap."""

    def store(self, worker_id: int, dp_rank: int, hashes: Hashes, tier: Tier) -> None:
        """The rank now also has these blocks (chained sequence hashes)."""
        ...

    def remove(self, worker_id: int, dp_rank: int, hashes: Hashes, tier: Tier) -> None: ...

    def clear(self, worker_id: int, dp_rank: int) -> None:
        """The rank holds nothing, on any tier."""
        ...

    def replace(self, worker_id: int, dp_rank: int, tiers: Mapping[Tier, Hashes]) -> None:
        """The rank holds exactly these blocks."""
        ...

    def drop(self, worker_id: int) -> None:
        """The worker is gone with all its ranks."""
        ...

    def apply_load(self, load: Load) -> None: ...


class StateUnavailable(Exception):
    """A worker's state cannot be fetched now; try again later."""


class StateSource(Protocol):
    async def fetch(self, card: WorkerCard, dp_rank: int, after: int | None) -> KvState:
        """Everything, or what happened after event id `after` if the worker still knows. Raises StateUnavailable."""
        ...
