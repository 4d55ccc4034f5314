"""Who must wait for room before a decision, and whose turn it is when there is some (`--router-queue-threshold`).

Owned by the router, which says when load has fallen. Pure; how a waiting request is told is the caller's.
"""

from __future__ import annotations

from collections.abc import Callable

from dynamo.router.config import QueuePolicy
from dynamo.router.fleet import Roster
from dynamo.router.loads import Loads
from dynamo.router.queue import Waiting, WaitQueue


class Turns:
    """Held requests, let go one at a time."""

    def __init__(self, threshold_steps: float | None, policy: QueuePolicy) -> None:
        """`threshold_steps`: prompt tokens that a rank may have waiting, in engine steps; None: nobody ever waits."""
        self.threshold_steps = threshold_steps
        self._queue = WaitQueue(policy)

    def __len__(self) -> int:
        return len(self._queue)

    def must_wait(self, roster: Roster, loads: Loads) -> str | None:
        """Why a newcomer that these could serve has to wait; None: it may go on."""
        if self.threshold_steps is None:
            return None
        if len(self._queue):
            return f"{len(self._queue)} requests wait already (--router-queue-threshold)"
        if self._has_room(roster, loads, self.threshold_steps):
            return None
        steps = f"{self.threshold_steps:g} steps of prompt tokens to compute"
        return f"every rank has more than {steps} (--router-queue-threshold)"

    def push(self, waiting: Waiting, wake: Callable[[], None]) -> None:
        self._queue.push(waiting, wake)

    def abandon(self, request_id: str) -> None:
        self._queue.abandon(request_id)

    def wake_next(self, roster: Roster, loads: Callable[[], Loads]) -> None:
        """Wakes the first request if there is room: its `begin` (or `abandon`) wakes the next one.

        With no worker left everybody is woken in turn, to be told so.
        """
        steps = self.threshold_steps
        if steps is not None and len(roster) and not self._has_room(roster, loads(), steps):
            return
        turn = self._queue.pop()
        if turn is not None:
            turn[1]()

    @staticmethod
    def _has_room(roster: Roster, loads: Loads, steps: float) -> bool:
        return bool((loads.prefill_tokens <= steps * roster.step_tokens).any())
