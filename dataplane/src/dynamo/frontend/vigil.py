"""Finds workers that stand still: the kernel keeps their connections open, so a client would wait for ever.

Every worker's system server is asked for a sign of life in turn, whatever discovery says: a frozen process stays ready
in Kubernetes for half a minute. A worker that left discovery while it owes answers is asked as well: it may be
draining, which may take long and in silence. Called by `server` with every new fleet.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from typing import Protocol

from dynamo.frontend.pulse import Pulse, next_probe_s
from dynamo.frontend.relay import Collector
from dynamo.frontend.upstream import AnswerCut, Pool, WorkerUnreachable
from dynamo.frontend.worker_requests import send
from dynamo.process.logs import EventLog
from dynamo.wire.cards import WorkerCard
from dynamo.wire.http1 import request_head

DEPARTED_EVERY_S = 1.0
LATE_S = 0.5
"""A deadline noticed so much too late says that this process stood still, and nothing of the worker."""
REMEMBER_S = 600.0
"""A worker that vanished while frozen must prove itself when it returns within this time."""


class Probe(Protocol):
    """Asks a worker's system server for a sign of life."""

    async def __call__(self, card: WorkerCard) -> bool:
        """False: it answered that it is not alive, or the connection failed. May take as long as it likes."""
        ...


class HttpProbe:
    """GET /live over kept connections."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def __call__(self, card: WorkerCard) -> bool:
        host = card.system_address.partition("://")[2].encode()
        try:
            answer = await send(self._pool, card.system_address, request_head(b"GET", b"/live", host, []), Collector())
        except (WorkerUnreachable, AnswerCut):
            return False
        # Its path may be configured to be another: 404 is a sign of life too.
        return answer is not None and answer.status < 500


class _Patient:
    """A worker under watch."""

    __slots__ = ("card", "is_present", "left_s", "next", "pulse")

    def __init__(self, card: WorkerCard) -> None:
        self.card = card
        self.pulse = Pulse()
        self.is_present = True
        self.left_s = 0.0
        self.next: asyncio.TimerHandle | asyncio.Task[None] | None = None

    def rest(self) -> None:
        if self.next is not None:
            self.next.cancel()
            self.next = None


class Vigil:
    """Knows who is frozen. Owns a timer or a task for each worker; `close` ends them."""

    def __init__(
        self,
        probe: Probe,
        pool: Pool,
        log: EventLog,
        *,
        every_s: float,
        on_change: Callable[[], None],
        on_suspect: Callable[[WorkerCard, float], None],
    ) -> None:
        """`every_s` of 0 watches only workers that left while they owe answers.

        `on_change`: somebody froze or came back. `on_suspect`: to be avoided for so many seconds.
        """
        self._probe = probe
        self._pool = pool
        self._log = log
        self._every_s = every_s
        self._timeout_s = (every_s or DEPARTED_EVERY_S) / 2
        self._on_change = on_change
        self._on_suspect = on_suspect
        self._patients: dict[int, _Patient] = {}

    def follow(self, cards: Sequence[WorkerCard]) -> None:
        """These are all workers there are now."""
        now = {card.worker_id: card for card in cards}
        now_s = self._pool.clock()
        for worker_id, patient in list(self._patients.items()):
            if worker_id not in now:
                self._leave(worker_id, patient, now_s)
        for worker_id, card in now.items():
            known = self._patients.get(worker_id)
            if known is None:
                known = self._patients[worker_id] = _Patient(card)
            known.card = card
            if not known.is_present or known.next is None:
                known.is_present = True
                known.rest()
                # Spread over a whole interval: a fleet that appears at once is not probed at once.
                self._plan(known, self._every_s * random.random() if not known.pulse.misses else 0.0)  # noqa: S311

    def admitted(self, cards: Sequence[WorkerCard]) -> tuple[WorkerCard, ...]:
        """Those that are not frozen."""
        return tuple(card for card in cards if not self._is_frozen(card.worker_id))

    def close(self) -> None:
        for patient in self._patients.values():
            patient.rest()
        self._patients.clear()

    def _is_frozen(self, worker_id: int) -> bool:
        patient = self._patients.get(worker_id)
        return patient is not None and patient.pulse.is_frozen

    def _leave(self, worker_id: int, patient: _Patient, now_s: float) -> None:
        if patient.is_present:
            patient.is_present, patient.left_s = False, now_s
            patient.rest()
            if self._pool.awaits(patient.card.address):
                self._plan(patient, 0.0)
        if patient.next is None and (not patient.pulse.is_frozen or now_s - patient.left_s > REMEMBER_S):
            del self._patients[worker_id]

    def _plan(self, patient: _Patient, after_s: float) -> None:
        if patient.is_present and not self._every_s and not patient.pulse.is_frozen:
            return
        loop = asyncio.get_running_loop()

        def ask() -> None:
            patient.next = loop.create_task(self._ask(patient))

        patient.next = loop.call_later(after_s, ask)

    async def _ask(self, patient: _Patient) -> None:
        began_s = self._pool.clock()
        try:
            async with asyncio.timeout(self._timeout_s):
                has_answered = await self._probe(patient.card)
        except TimeoutError:
            has_answered = False
        is_late = self._pool.clock() - began_s > self._timeout_s + LATE_S
        lives = has_answered or (not is_late and self._pool.has_heard(patient.card.address, began_s))
        self._settle(patient, lives=lives, is_void=is_late and not has_answered)
        self._continue(patient)

    def _settle(self, patient: _Patient, *, lives: bool, is_void: bool) -> None:
        if is_void:
            return
        before, card = patient.pulse, patient.card
        after = patient.pulse = before.answered() if lives else before.silent()
        if after.is_frozen and not lives:
            if not before.is_frozen:
                self._log.warning("worker_frozen", worker=card.name, address=card.address)
            # Again and again: a request may have been on its way to it when it was found frozen.
            self._pool.give_up(card.address)
        elif before.is_frozen and not after.is_frozen:
            self._log.info("worker_back", worker=card.name, address=card.address)
        elif after.is_suspect:
            self._on_suspect(card, 2 * self._timeout_s)
        if before.is_frozen != after.is_frozen:
            self._on_change()

    def _continue(self, patient: _Patient) -> None:
        patient.next = None
        if patient.is_present or self._pool.awaits(patient.card.address):
            every_s = self._every_s or DEPARTED_EVERY_S
            self._plan(patient, next_probe_s(patient.pulse, every_s, random.random()))  # noqa: S311  # jitter
        elif not patient.pulse.is_frozen:
            self._patients.pop(patient.card.worker_id, None)
