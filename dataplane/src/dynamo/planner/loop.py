"""The planner's loop: look, read metrics, decide, write, tell; once per tick, until told to stop.

All effects pass through the connector and the scraper; the deciding is `decide`'s. A tick that fails changes nothing
and the next one starts from what is there, so nothing is remembered about writes.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

from dynamo.planner.connector import Connector, Happening
from dynamo.planner.decide import decide
from dynamo.planner.errors import ConnectorError, PlannerError, Refused
from dynamo.planner.exposition import Exposition, Outcome
from dynamo.planner.measure import Measure
from dynamo.planner.observation import Decision, Observation, Policy, State
from dynamo.planner.scrape import Page
from dynamo.planner.sight import Sight, Source
from dynamo.planner.writes import Write, writes
from dynamo.process.logs import EventLog

TICK_DEADLINE_S = 30.0
STUCK_AFTER_S = 120.0
"""Without a finished tick, after which the process asks to be restarted."""
SAY_AGAIN_AFTER_S = 60.0
"""Between two Events about holding whose reasons differ."""


class Pages(Protocol):
    async def fetch(self, sources: Iterable[Source]) -> Mapping[str, Page]: ...


class Planner:
    """One graph's planner."""

    def __init__(
        self,
        connector: Connector,
        pages: Pages,
        measure: Measure,
        policy: Policy,
        exposition: Exposition,
        log: EventLog,
        *,
        is_advisory: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._connector = connector
        self._pages = pages
        self._measure = measure
        self._policy = policy
        self._exposition = exposition
        self._log = log
        self._is_advisory = is_advisory
        self._clock = clock
        self._state = State()
        self._ticked_s = clock()
        self._said: str | None = None
        """Why nothing could be decided or written, as last told; None: all is well."""
        self._said_s = 0.0
        self._advised: str | None = None
        self._noted: set[str] = set()

    def is_alive(self) -> bool:
        return self._clock() - self._ticked_s < STUCK_AFTER_S

    async def run(self, stop: asyncio.Event) -> None:
        """Ticks until `stop`; a tick that is under way is broken off."""
        tick_s = self._policy.pace.tick_s
        while not stop.is_set():
            began_s = self._clock()
            await _unless(stop, self.tick())
            rest_s = max(0.0, tick_s - (self._clock() - began_s))
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), rest_s)

    async def tick(self) -> Decision | None:
        """One round; None when nothing could be seen."""
        began_s = self._clock()
        try:
            async with asyncio.timeout(TICK_DEADLINE_S):
                return await self._round()
        except TimeoutError:
            self._exposition.timed_out()
            await self._stands(f"a round took longer than {TICK_DEADLINE_S:g} s", Happening.HOLDING)
        except PlannerError as error:
            self._exposition.skipped()
            await self._stands(str(error), Happening.REFUSED if isinstance(error, Refused) else Happening.HOLDING)
        finally:
            self._ticked_s = self._clock()
            self._exposition.ticked(self._ticked_s - began_s)
        return None

    async def _round(self) -> Decision:
        sight = await self._connector.look()
        self._note(sight)
        sources = [*sight.frontends, *(source for found in sight.workers.values() for source in found)]
        pages = await self._pages.fetch(sources)
        seen = self._measure.observe(sight, pages, self._clock())
        decision = decide(seen, self._policy, self._state)
        self._state = decision.state
        due, why_not = writes(decision, sight)
        outcome = _outcome(decision, due, why_not)
        self._exposition.show(seen, decision, outcome)
        self._log.debug("planner_round", reason=decision.reason, outcome=outcome.value, held_back=why_not or None)
        await self._speak(decision, due, why_not)
        await self._write(due, decision, seen)
        return decision

    async def _speak(self, decision: Decision, due: list[Write], why_not: str) -> None:
        """One line and one Event when it starts to hold, and when it goes on."""
        if decision.is_hold:
            await self._stands(decision.reason, Happening.HOLDING)
        elif why_not and not due:
            await self._stands(f"holding: {why_not}", Happening.HOLDING, is_expected=True)
        elif self._said is not None:
            self._said = None
            self._log.info("planner_resumed", reason=decision.reason)
            await self._connector.tell(Happening.RESUMED, decision.reason)

    async def _stands(self, why: str, happening: Happening, *, is_expected: bool = False) -> None:
        now_s = self._clock()
        if self._said is not None and (why == self._said or now_s - self._said_s < SAY_AGAIN_AFTER_S):
            return
        self._said, self._said_s = why, now_s
        say = self._log.info if is_expected else self._log.warning
        say("planner_holds", reason=why)
        await self._connector.tell(happening, why, is_warning=not is_expected)

    async def _write(self, due: list[Write], decision: Decision, seen: Observation) -> None:
        """Shrinks before it grows, so that the budget holds in between."""
        if self._is_advisory:
            advice = ", ".join(f"{write.component} {write.before} -> {write.after}" for write in due)
            if advice != self._advised:
                self._advised = advice
                self._log.info("planner_advises", change=advice or "none", reason=decision.reason)
            return
        for write in due:
            try:
                await self._connector.scale(write.component, write.after)
            except ConnectorError as error:
                raise type(error)(f"{write.component} {write.before} -> {write.after}: {error}") from error
            fleet = seen.fleets[write.role]
            self._log.info(
                "planner_scaled",
                component=write.component,
                before=write.before,
                after=write.after,
                ready=fleet.ready,
                reason=decision.reason,
            )
            message = f"{write.component} {write.before} -> {write.after}: {decision.reason}"
            await self._connector.tell(Happening.SCALED, message)

    def _note(self, sight: Sight) -> None:
        for note in sight.notes:
            if note not in self._noted:
                self._noted.add(note)
                self._log.info("planner_assumes", message=note)


def _outcome(decision: Decision, due: list[Write], why_not: str) -> Outcome:
    if decision.is_hold:
        return Outcome.NO_DATA
    if why_not and not due:
        return Outcome.IN_PROGRESS
    if not due:
        return Outcome.NO_CHANGE
    return Outcome.UP if any(write.after > write.before for write in due) else Outcome.DOWN


async def _unless(stop: asyncio.Event, work: object) -> None:
    """Runs a coroutine until it ends or `stop` is set; its errors pass through."""
    assert asyncio.iscoroutine(work), "a tick"
    task = asyncio.create_task(work)
    waiting = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            task.result()
    finally:
        for one in (task, waiting):
            one.cancel()
        await asyncio.gather(task, waiting, return_exceptions=True)
