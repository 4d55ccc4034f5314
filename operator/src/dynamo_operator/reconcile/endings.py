"""Roots in namespaces that are being deleted: left alone, since nothing can be made there any longer.

Duty: remember which roots an API server refused something for that reason, say so once, and keep further passes from
asking again with every child that goes. It must not hold back what ends: deletions and finalizers are no pass's
business here. Callers: the reconcilers.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

from dynamo_operator.kube import Ending, Live, Ref
from dynamo_operator.reconcile.ports import Outcome

REST_S = 300.0  # the deletion of a namespace is not taken back: this bounds what a wrong answer costs

log = logging.getLogger(__name__)


class Endings:
    """Told by refusals alone, so that no right to read namespaces is needed. `monotonic` gives seconds."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._until: dict[Ref, tuple[str, float]] = {}

    async def heeding(self, root: Live, pass_: Callable[[Live], Awaitable[Outcome]]) -> Outcome:
        """The pass's outcome; nothing is done while the root is left alone."""
        rest_s = self._rest_s(root)
        if rest_s is not None:
            return Outcome(rest_s)
        try:
            return await pass_(root)
        except Ending as error:
            return self._note(root, error)

    def forget(self, root: Ref) -> None:
        """The root is gone."""
        self._until.pop(root, None)

    def _rest_s(self, root: Live) -> float | None:
        """The seconds for which a root is left alone; None where nothing speaks against a pass."""
        uid, until_s = self._until.get(root.ref, ("", 0.0))
        left_s = until_s - self._monotonic()
        # A namespace of the same name may be made anew, and in it a root of the same name.
        return left_s if uid == root.uid and left_s > 0 else None

    def _note(self, root: Live, error: Ending) -> Outcome:
        """The end of a pass that was refused."""
        uid, _ = self._until.get(root.ref, ("", 0.0))
        if uid != root.uid:
            log.info("namespace_ending root=%s message=%r", root.ref, str(error))
        self._until[root.ref] = (root.uid, self._monotonic() + REST_S)
        return Outcome(REST_S)
