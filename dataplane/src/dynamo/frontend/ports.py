"""What the frontend needs from discovery. Implementations: `dynamo.discovery.{file,mem,cluster}`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Protocol

from dynamo.wire.cards import WorkerCard


class Discovery(Protocol):
    def watch(self) -> AsyncIterator[tuple[WorkerCard, ...]]:
        """First everyone there now, then everyone anew at each change; ends only by cancellation."""
        ...

    @property
    def problems(self) -> tuple[str, ...]:
        """What keeps workers from being seen, in words for whoever runs this; empty while all is well."""
        ...
