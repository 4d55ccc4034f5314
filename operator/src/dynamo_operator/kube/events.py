"""Kubernetes Events, written economically.

Duty: say each thing about an object once, count its repetitions up at most every few minutes, and never let an Event
stop or slow the work it tells of. Callers: the process's wiring, as the `record` half of the reconcilers' port.
"""

from __future__ import annotations

import hashlib
import logging
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Protocol

from dynamo_operator.kube.errors import Conflict, Ending, Gone, KubeError
from dynamo_operator.kube.live import FIELD_MANAGER
from dynamo_operator.kube.objects import EVENT, Document, Live, Ref

REPEAT_S = 300.0  # a repetition sooner than this is only counted
BURST = 25  # Events about one object before the rate limit holds; both numbers are those of client-go's recorder
REFILL_S = 300.0
REMEMBERED = 4096  # Events and objects remembered; the eldest are forgotten first
MESSAGE_LIMIT = 1024

log = logging.getLogger(__name__)


class EventApi(Protocol):
    async def create(self, document: Document) -> Live: ...

    async def merge(self, ref: Ref, change: Document) -> Live: ...


class Notice(Protocol):
    """What an Event says."""

    @property
    def about(self) -> Ref: ...

    @property
    def about_uid(self) -> str: ...

    @property
    def reason(self) -> str: ...

    @property
    def message(self) -> str: ...

    @property
    def is_warning(self) -> bool: ...


@dataclass(frozen=True, slots=True)
class _Told:
    count: int
    written_at_s: float


@dataclass(frozen=True, slots=True)
class _Budget:
    tokens: float
    at_s: float


class Recorder:
    """Remembers what was told, within bounds; a restart at worst counts one Event up again."""

    def __init__(self, api: EventApi, *, clock: Callable[[], datetime]) -> None:
        self._api = api
        self._clock = clock
        self._told: OrderedDict[Ref, _Told] = OrderedDict()
        self._budgets: OrderedDict[str, _Budget] = OrderedDict()

    async def record(self, notice: Notice) -> None:
        now = self._clock()
        ref = event_ref(notice)
        told = self._told.get(ref, _Told(0, float("-inf")))
        told = replace(told, count=told.count + 1)
        is_due = now.timestamp() - told.written_at_s >= REPEAT_S and self._spend(notice.about_uid, now.timestamp())
        self._remember(ref, told)
        if not is_due:
            return
        try:
            count = await self._write(ref, notice, told.count, now)
        except Ending:
            count = told.count  # nobody reads the Events of a namespace that goes
        except KubeError as error:
            log.warning("event_not_written about=%s reason=%s error=%r", notice.about, notice.reason, str(error))
            return
        self._remember(ref, _Told(count, now.timestamp()))

    async def _write(self, ref: Ref, notice: Notice, count: int, now: datetime) -> int:
        """Returns the count that the Event now shows."""
        try:
            if count == 1:
                await self._api.create(event_document(ref, notice, count, now))
            else:
                await self._api.merge(ref, {"count": count, "lastTimestamp": _time(now)})
        except Conflict:
            return await self._count_up(ref, now)
        except Gone:
            # The server forgets Events after an hour.
            if count > 1:
                await self._api.create(event_document(ref, notice, count, now))
        return count

    async def _count_up(self, ref: Ref, now: datetime) -> int:
        """The Event is from before our start; what a patch answers says how often it was counted."""
        live = await self._api.merge(ref, {"lastTimestamp": _time(now)})
        return int(live.document.get("count") or 1)

    def _remember(self, ref: Ref, told: _Told) -> None:
        self._told[ref] = told
        self._told.move_to_end(ref)
        while len(self._told) > REMEMBERED:
            self._told.popitem(last=False)

    def _spend(self, uid: str, now_s: float) -> bool:
        budget = self._budgets.get(uid, _Budget(BURST, now_s))
        tokens = min(BURST, budget.tokens + (now_s - budget.at_s) / REFILL_S)
        is_affordable = tokens >= 1
        self._budgets[uid] = _Budget(tokens - 1 if is_affordable else tokens, now_s)
        self._budgets.move_to_end(uid)
        while len(self._budgets) > REMEMBERED:
            self._budgets.popitem(last=False)
        return is_affordable


def event_ref(notice: Notice) -> Ref:
    """The same thing said about the same object always has the same name."""
    said = "\0".join((notice.about_uid, notice.reason, notice.message, str(notice.is_warning)))
    digest = hashlib.sha256(said.encode()).hexdigest()[:16]
    return Ref(EVENT, notice.about.namespace or "default", f"{notice.about.name[:200].rstrip('.-')}.{digest}")


def event_document(ref: Ref, notice: Notice, count: int, now: datetime) -> Document:
    about = notice.about
    return {
        "apiVersion": EVENT.api_version,
        "kind": EVENT.name,
        "metadata": {"name": ref.name, "namespace": ref.namespace},
        "involvedObject": {
            "apiVersion": about.kind.api_version,
            "kind": about.kind.name,
            "name": about.name,
            "uid": notice.about_uid,
            **({"namespace": about.namespace} if about.namespace else {}),
        },
        "reason": notice.reason,
        "message": notice.message[:MESSAGE_LIMIT],
        "type": "Warning" if notice.is_warning else "Normal",
        "count": count,
        "firstTimestamp": _time(now),
        "lastTimestamp": _time(now),
        "source": {"component": FIELD_MANAGER},
        "reportingComponent": FIELD_MANAGER,
        "reportingInstance": FIELD_MANAGER,
    }


def _time(now: datetime) -> str:
    return now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
