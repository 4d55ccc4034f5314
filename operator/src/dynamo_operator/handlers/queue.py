"""One pass at a time for each dirty root, a bounded number of them at once.

Duty: run the controllers' passes, in the order that they ask for, coalesce what arrives meanwhile, come back after
failures and when asked to. A pass that fails in any way costs its own root a delay and nobody else anything. It must
not know what a pass does. Callers: the feed marks, the election pauses and resumes, the process drains.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from dynamo_operator.handlers.backoff import retry_delay_s
from dynamo_operator.handlers.waiting import Waiting
from dynamo_operator.kube import Deposed, KubeError, Ref
from dynamo_operator.reconcile import Controller, Outcome, Priority

# Passes mostly wait for their turn at the API server; those that wait for new Services must not hold up the others.
# With more at once, more new graphs are half-way when the pods of others begin to start.
CONCURRENCY = 16
PATIENCE_S = 120.0  # what has waited for so long goes before whatever came later, whatever its priority
# Pods of one graph become ready one after another: of many that start, each is looked at less often.
STATUS_PASSES_PER_S = 20.0
STATUS_DELAY_CAP_S = 10.0
# Pods of many also take longer: looks at those that are late, and first statuses that say nothing yet, come later.
LOOKS_PER_S = 4.0
SLACK_CAP_S = 300.0
PASS_DEADLINE_S = 300.0  # far above what calls with deadlines of 15 s add up to; it ends a pass that waits for nothing

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Work:
    """A root and who reconciles it; controllers are told apart by identity."""

    controller: Controller
    root: Ref


class Observer(Protocol):
    """Hears of every pass; `error` is None when it succeeded."""

    def passed(self, root: Ref, duration_s: float, error: Exception | None, *, is_requeued: bool) -> None: ...


class Queue:
    """States of a piece of work: waiting for a timer, dirty, running, running and dirty again."""

    def __init__(
        self,
        observer: Observer,
        *,
        admits: Callable[[Ref], bool] = lambda _: True,
        concurrency: int = CONCURRENCY,
        pass_deadline_s: float = PASS_DEADLINE_S,
        patience_s: float = PATIENCE_S,
    ) -> None:
        self._observer = observer
        self._admits = admits
        self._concurrency = concurrency
        self._pass_deadline_s = pass_deadline_s
        self._patience_s = patience_s
        self._dirty = Waiting[Work]()
        self._priorities: dict[Work, Priority] = {}  # as the last pass asked, where it was not the first one
        self._edited: set[Work] = set()  # since their last pass began
        self._running: dict[Work, asyncio.Task[None]] = {}
        self._timers: dict[Work, asyncio.TimerHandle] = {}
        self._held_until: dict[Work, float] = {}
        self._failures: dict[Work, int] = {}
        self._is_paused = True
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def is_paused(self) -> bool:
        return self._is_paused

    @property
    def depth(self) -> int:
        """Pieces of work that wait for their turn."""
        return len(self._dirty)

    def priority(self, work: Work) -> Priority:
        """What its next pass is for: an edit, or what the last one said."""
        return Priority.CHANGES if work in self._edited else self._priorities.get(work, Priority.CHANGES)

    def is_pressed(self, root: Ref) -> bool:
        """Whether changes of other roots wait, and the root's pass that runs now has not let them go before already."""
        if any(work.root == root and work in self._priorities for work in self._running):
            return False
        return any(work.root != root for work in self._dirty.of(Priority.CHANGES))

    def slack_s(self) -> float:
        """How much longer than usual what nobody waits for may take: the more roots await their pods, the longer."""
        return min(len(self._priorities) / LOOKS_PER_S, SLACK_CAP_S)

    def mark(self, work: Work, *, is_edit: bool = False) -> None:
        """Have a pass soon; at once if it only waits for a timer, unless the API server asked it to wait.

        One that can only tell a status has it a little later, so that more of the same comes together. With an edit
        there is more to do than that.
        """
        if self._is_paused:
            return
        if is_edit:
            self._edited.add(work)
        now_s = asyncio.get_running_loop().time()
        wait_s = self._held_until.get(work, 0.0) - now_s
        if wait_s > 0:
            self._schedule(work, wait_s)
        elif self.priority(work) is Priority.STATUS and not (work in self._running or work in self._dirty):
            self._schedule_by(work, self._status_delay_s())
        else:
            self._enqueue(work)

    def mark_all(self, works: Iterable[Work]) -> None:
        for work in works:
            self.mark(work)

    def resume(self, works: Iterable[Work]) -> None:
        """Begin, or begin again, with everything dirty."""
        self._is_paused = False
        self.mark_all(works)

    def pause(self) -> None:
        """Forget what waits; passes in flight end by themselves, held back by the fence."""
        self._is_paused = True
        self._dirty.clear()
        self._priorities.clear()
        self._edited.clear()
        self._failures.clear()
        self._held_until.clear()
        for work in tuple(self._timers):
            self._unschedule(work)

    async def drain(self, deadline_s: float) -> bool:
        """Take nothing new, let passes in flight finish; False when some had to be cancelled."""
        self.pause()
        try:
            async with asyncio.timeout(deadline_s):
                await self._idle.wait()
        except TimeoutError:
            tasks = tuple(self._running.values())
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            return False
        return True

    def check(self) -> None:
        """Assert that work is in one place only and within bounds."""
        dirty = set(self._dirty)
        assert not self._timers.keys() & dirty
        assert all(self.priority(work) is priority for priority in Priority for work in self._dirty.of(priority))
        assert len(self._running) <= self._concurrency
        assert self._idle.is_set() == (not self._running)
        assert self._edited <= dirty | self._timers.keys()
        assert not self._is_paused or not (dirty or self._timers)

    def _pump(self) -> None:
        """Start what may start; what runs already stays dirty until its pass has ended."""
        overdue_s = asyncio.get_running_loop().time() - self._patience_s
        while len(self._running) < self._concurrency and (work := self._dirty.take(self._running, overdue_s)):
            self._edited.discard(work)
            if self._admits(work.root):
                self._idle.clear()
                self._running[work] = asyncio.create_task(self._run(work), name=f"reconcile {work.root}")

    async def _run(self, work: Work) -> None:
        try:
            await self._pass(work)
        finally:
            del self._running[work]
            if not self._running:
                self._idle.set()
            if not self._is_paused:
                self._pump()

    async def _pass(self, work: Work) -> None:
        loop = asyncio.get_running_loop()
        started = loop.time()
        error: Exception | None = None
        outcome = Outcome()
        try:
            async with asyncio.timeout(self._pass_deadline_s):
                outcome = await work.controller.reconcile(work.root)
        except Deposed:
            # Whoever leads now does this work; if that is us again, everything is marked anew.
            return
        except Exception as caught:  # a bug in one pass must not stop the others
            error = caught
        self._observer.passed(
            work.root, loop.time() - started, error, is_requeued=error is None and outcome.again_after_s is not None
        )
        self._prioritise(work, outcome.priority)
        if error is None:
            self._failures.pop(work, None)
            again_after_s = outcome.again_after_s
            if self.priority(work) is Priority.STATUS and self._dirty.drop(work) is not None:
                delay_s = self._status_delay_s()
                again_after_s = delay_s if again_after_s is None else min(again_after_s, delay_s)
            if again_after_s is not None:
                self._come_back(work, again_after_s)
        else:
            self._retry(work, error)

    def _enqueue(self, work: Work) -> None:
        self._unschedule(work)
        self._await_turn(work)
        self._pump()

    def _await_turn(self, work: Work) -> None:
        self._dirty.put(work, self.priority(work), asyncio.get_running_loop().time())

    def _prioritise(self, work: Work, priority: Priority) -> None:
        if priority is Priority.CHANGES:
            self._priorities.pop(work, None)
        elif not self._is_paused:
            self._priorities[work] = priority
        if work in self._dirty:
            self._await_turn(work)

    def _retry(self, work: Work, error: Exception) -> None:
        failures = self._failures[work] = self._failures.get(work, 0) + 1
        delay_s = retry_delay_s(error, failures)
        kind = "reconcile_failed" if isinstance(error, KubeError) else "reconcile_crashed"
        log.warning(
            "%s root=%s error=%s message=%r failures=%d retry_s=%.2f",
            *(kind, work.root, type(error).__name__, str(error)[:500], failures, delay_s),
            extra={"crash": None if isinstance(error, KubeError) else error},
        )
        if hasattr(error, "retry_after_s"):
            self._held_until[work] = asyncio.get_running_loop().time() + delay_s
            self._dirty.drop(work)
        self._come_back(work, delay_s)

    def _come_back(self, work: Work, delay_s: float) -> None:
        """Unless it is dirty already, which brings it back sooner."""
        if not self._is_paused and work not in self._dirty:
            self._schedule(work, delay_s)

    def _status_delay_s(self) -> float:
        return min(len(self._priorities) / STATUS_PASSES_PER_S, STATUS_DELAY_CAP_S)

    def _schedule_by(self, work: Work, delay_s: float) -> None:
        """Unless a timer brings it back sooner."""
        timer = self._timers.get(work)
        if timer is None or timer.when() > asyncio.get_running_loop().time() + delay_s:
            self._schedule(work, delay_s)

    def _schedule(self, work: Work, delay_s: float) -> None:
        self._unschedule(work)
        self._timers[work] = asyncio.get_running_loop().call_later(delay_s, self._wake, work)

    def _unschedule(self, work: Work) -> None:
        timer = self._timers.pop(work, None)
        if timer is not None:
            timer.cancel()

    def _wake(self, work: Work) -> None:
        self._timers.pop(work, None)
        self._held_until.pop(work, None)
        self._enqueue(work)
