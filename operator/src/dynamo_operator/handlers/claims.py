"""Namespaces that an operator of their own serves.

Duty: know which namespaces are claimed by a live lease, and say when one is released, by its end or by its silence. The
cluster-wide operator leaves claimed namespaces alone. Callers: the feed tells of lease changes, the queue asks.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from dynamo_operator.handlers.lease import Sighting, sighting
from dynamo_operator.handlers.store import Change
from dynamo_operator.kube import Ref
from dynamo_operator.kube.objects import LEASE

CLAIM_NAME = "dynamo-operator-namespace-scope"

log = logging.getLogger(__name__)


class Claims:
    """Counts a lease's silence from when its last change was seen."""

    def __init__(self, *, clock: Callable[[], float], on_release: Callable[[str], None]) -> None:
        self._clock = clock
        self._on_release = on_release
        self._seen: dict[str, Sighting] = {}
        self._timers: dict[str, asyncio.TimerHandle] = {}

    def admits(self, root: Ref) -> bool:
        return not self.is_claimed(root.namespace)

    def is_claimed(self, namespace: str) -> bool:
        seen = self._seen.get(namespace)
        return seen is not None and not seen.has_run_out(self._clock())

    def note(self, change: Change) -> None:
        """Any object's change; only claims matter."""
        packed = change.after or change.before
        if packed is None or packed.ref.kind != LEASE or packed.ref.name != CLAIM_NAME:
            return
        namespace = packed.ref.namespace
        was_claimed = self.is_claimed(namespace)
        timer = self._timers.pop(namespace, None)
        if timer:
            timer.cancel()
        if change.after is None:
            self._seen.pop(namespace, None)
        else:
            self._seen[namespace] = sighting(change.after.unpack(), self._seen.get(namespace), self._clock())
        if self.is_claimed(namespace):
            self._await_silence(namespace)
        if was_claimed != self.is_claimed(namespace):
            self._tell(namespace, is_claimed=not was_claimed)

    def _await_silence(self, namespace: str) -> None:
        seen = self._seen[namespace]
        delay_s = max(0.0, seen.at_s + seen.duration_s - self._clock())
        self._timers[namespace] = asyncio.get_running_loop().call_later(delay_s, self._end_silence, namespace)

    def _end_silence(self, namespace: str) -> None:
        self._timers.pop(namespace, None)
        if self.is_claimed(namespace):
            self._await_silence(namespace)
        else:
            self._tell(namespace, is_claimed=False)

    def _tell(self, namespace: str, *, is_claimed: bool) -> None:
        log.info("namespace_%s namespace=%s", "claimed" if is_claimed else "released", namespace)
        if not is_claimed:
            self._on_release(namespace)
