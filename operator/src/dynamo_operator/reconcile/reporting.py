"""Writes statuses and Events, and no more of them than readers need.

Duty: carry a status to the API server at once when it says something new, a little later when only counts changed. It
must not compute one. Callers: the reconcilers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC
from typing import Any

from dynamo_operator.kube import Gone, Live, Ref
from dynamo_operator.plan.changes import Urgency, urgency
from dynamo_operator.plan.conditions import Change
from dynamo_operator.reconcile.ports import Clocks, Happening, Kube

COUNTS_LATER_S = 3.0
FIRST_LATER_S = 10.0


class Reporter:
    """Remembers only since when a status waits to be written; that is lost without harm."""

    def __init__(self, kube: Kube, clocks: Clocks) -> None:
        self._kube = kube
        self._clocks = clocks
        self._waiting_since: dict[Ref, float] = {}

    def now(self) -> str:
        """RFC 3339, to the second, as Kubernetes writes times."""
        return self._clocks.wall().astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

    async def write(self, live: Live, status: Mapping[str, Any]) -> float | None:
        """Write now, later or not at all; the seconds until it should be asked again."""
        previous = live.document.get("status") or {}
        wanted = urgency(previous, status)
        if wanted is Urgency.LATER:
            delay_s = COUNTS_LATER_S if previous else FIRST_LATER_S + self._clocks.slack_s()
            now_s = self._clocks.monotonic()
            early_s = self._waiting_since.setdefault(live.ref, now_s) + delay_s - now_s
            if early_s > 0:
                return early_s
        self._waiting_since.pop(live.ref, None)
        if wanted is not Urgency.NONE:
            await self._apply(live, status)
        return None

    async def write_now(self, live: Live, status: Mapping[str, Any]) -> None:
        """For statuses that change rarely and are waited for."""
        if (live.document.get("status") or {}) != status:
            await self._apply(live, status)

    async def record(self, live: Live, changes: Iterable[Change]) -> None:
        for change in changes:
            await self._kube.record(
                Happening(live.ref, live.uid, change.reason, change.message, is_warning=change.is_warning)
            )

    def forget(self, ref: Ref) -> None:
        """The object is gone."""
        self._waiting_since.pop(ref, None)

    async def _apply(self, live: Live, status: Mapping[str, Any]) -> None:
        ref = live.ref
        document = {
            "apiVersion": ref.kind.api_version,
            "kind": ref.kind.name,
            # The uid keeps a status from landing on a successor of the same name.
            "metadata": {"name": ref.name, "namespace": ref.namespace, "uid": live.uid},
            "status": dict(status),
        }
        try:
            await self._kube.apply_status(document)
        except Gone:
            return  # deleted meanwhile: nobody is left to tell


def soonest(*waits: float | None) -> float | None:
    """The shortest of several waits."""
    known = [wait for wait in waits if wait is not None]
    return min(known) if known else None
