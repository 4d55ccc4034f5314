"""One leader: a Lease that is renewed, and a fence that falls before it runs out.

Duty: hold the lease while possible, say when that begins and ends, and answer for every write whether it may still be
sent. A process that was frozen wakes with its fence down. It must not write anything but its lease.
Callers: the process's wiring; the client calls `fence` before each write.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from dynamo_operator.handlers.lease import Sighting, holding, lease_document, releasing, sighting
from dynamo_operator.kube import Conflict, Deposed, Document, KubeError, Live, Ref

log = logging.getLogger(__name__)


class LeaseApi(Protocol):
    """Short deadlines and no second tries: the next round is the second try."""

    async def get(self, ref: Ref) -> Live | None: ...

    async def create(self, document: Document) -> Live: ...

    async def patch(self, ref: Ref, operations: list[dict[str, Any]], *, subresource: str = "") -> Live: ...


@dataclass(frozen=True, slots=True)
class Timing:
    """When a leader renews and a standby looks; a takeover takes at most duration and interval.

    duration_s: how long others wait for a silent leader. interval_s: between renewals, and between a standby's looks.
    margin_s: how long before the end our own writes stop.
    """

    duration_s: float = 14.0
    interval_s: float = 4.0
    retry_s: float = 1.0
    margin_s: float = 3.0


class Election:
    """`identity` names this process in the lease. `clock` measures durations, `now` dates the document."""

    def __init__(
        self,
        api: LeaseApi,
        ref: Ref,
        identity: str,
        *,
        clock: Callable[[], float],
        now: Callable[[], datetime],
        timing: Timing = Timing(),
    ) -> None:
        self._api = api
        self._ref = ref
        self._identity = identity
        self._clock = clock
        self._now = now
        self._timing = timing
        self._seen: Sighting | None = None
        self._valid_until_s = float("-inf")
        self._is_leading = False
        self._on_change: Callable[[bool], None] = _nobody

    @property
    def is_leading(self) -> bool:
        return self._is_leading and self._clock() < self._valid_until_s

    def fence(self) -> None:
        if not self.is_leading:
            raise Deposed(f"{self._identity} does not hold {self._ref}")

    async def run(self, on_change: Callable[[bool], None]) -> None:
        """Until cancelled; `on_change` hears when leading begins and ends."""
        self._on_change = on_change
        while True:
            is_fine = await self.round()
            await asyncio.sleep(self._timing.interval_s if is_fine else self._timing.retry_s)

    async def release(self) -> None:
        """Let others take over at once; afterwards nothing is sent any more."""
        was_leading = self.is_leading
        self._valid_until_s = float("-inf")
        self._set_leading(False)
        if was_leading and self._seen is not None:
            try:
                await self._api.patch(self._ref, releasing(self._seen, self._now()))
            except KubeError as error:
                log.warning("lease_not_released lease=%s error=%r", self._ref, str(error))

    async def round(self) -> bool:
        """Renew, take or look; False when the next round should come soon."""
        try:
            if not self._is_leading:
                await self._look()
            if self._is_leading or self._is_free():
                await self._hold()
        except Conflict:
            # Somebody wrote it since we looked: look again before anything else.
            self._set_leading(False)
            return False
        except KubeError as error:
            log.warning("lease_unreachable lease=%s error=%r", self._ref, str(error))
            self._set_leading(self.is_leading)
            return False
        return True

    async def _look(self) -> None:
        live = await self._api.get(self._ref)
        self._seen = sighting(live, self._seen, self._clock()) if live else None

    def _is_free(self) -> bool:
        """Nobody holds it, or we do: somebody else's edit of the lease costs us a round, not the lease."""
        seen = self._seen
        return seen is None or seen.holder == self._identity or seen.has_run_out(self._clock())

    async def _hold(self) -> None:
        started_s = self._clock()
        duration_s = self._timing.duration_s
        if self._seen is None:
            live = await self._api.create(lease_document(self._ref, self._identity, duration_s, self._now()))
        else:
            live = await self._api.patch(self._ref, holding(self._seen, self._identity, duration_s, self._now()))
        self._seen = sighting(live, None, self._clock())
        # Others may count from when the server wrote it, which is not before we began to ask.
        self._valid_until_s = started_s + duration_s - self._timing.margin_s
        self._set_leading(True)

    def _set_leading(self, is_leading: bool) -> None:
        if is_leading != self._is_leading:
            self._is_leading = is_leading
            log.info("leadership lease=%s identity=%s leading=%s", self._ref, self._identity, is_leading)
            self._on_change(is_leading)


def _nobody(_: bool) -> None:
    return None


class Unopposed:
    """A single replica without a lease, as the bare configuration has it."""

    is_leading = True

    def fence(self) -> None:
        return None

    async def run(self, on_change: Callable[[bool], None]) -> None:
        on_change(True)
        await asyncio.Event().wait()

    async def release(self) -> None:
        return None
