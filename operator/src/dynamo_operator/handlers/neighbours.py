"""Kinds that come and go while the process runs: others install and remove their APIs, and ours may come late.

Duty: ask the API server anew what it serves when somebody doubts what was found at start, and end the process when that
is no longer so, or when a kind that is served is never listed. A process that begins anew watches, renders and judges
by what there is; one that exchanged its facts in flight could act on half of them. Without doubts it asks nothing.
It must not know what a kind is good for. Callers: the wiring, which runs it and says who doubts.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Protocol

from dynamo_operator.handlers.facts import Served, is_served
from dynamo_operator.handlers.running import ServiceEnded
from dynamo_operator.kube import Kind, KubeError, Packed

LOOKS = 2  # a doubt may be quicker than the API server, which tells of a kind a moment after it was made
LOOK_APART_S = 10.0
SETTLING_S = 3.0  # the kinds of one neighbour come one after another
ASK_CAP_S = 60.0
IMPATIENCE_S = 30.0  # between looks while something is missing
LISTS_LIMIT_S = 120.0  # lists take seconds; a kind of which none comes for this long cannot be listed
START_RETRY_S = 2.0

log = logging.getLogger(__name__)


class Discovery(Protocol):
    async def served(self) -> frozenset[tuple[str, str]]: ...


@dataclass(frozen=True, slots=True)
class Wanted:
    """The kinds that somebody here watches or asks about. Without one of `own` there is always doubt.

    judged_by: those whose absence makes admission refuse.
    """

    kinds: frozenset[Kind]
    own: frozenset[Kind]
    judged_by: frozenset[Kind]


class Neighbours:
    """`served` was found at start; `unlisted` gives the kinds that the watches have yet to list."""

    def __init__(
        self, discovery: Discovery, wanted: Wanted, served: Served, *, unlisted: Callable[[], Collection[Kind]]
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._discovery = discovery
        self._wanted = wanted
        self._unlisted = unlisted
        self._found = self._present(served)
        self._doubted = asyncio.Event()
        self._fewest, self._fewest_since_s = len(wanted.kinds) + 1, self._loop.time()

    def doubt(self, reason: str) -> None:
        """From any thread: have a look soon."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._take_doubt, reason)

    def wrote(self, packed: Packed) -> None:
        """An object was written; one of a kind that was not served proves that it is."""
        kind = packed.ref.kind
        if kind in self._wanted.kinds - self._found:
            self.doubt(f"{kind.name} can be written")

    def refused(self, fields: Collection[str]) -> None:
        """Admission refused an object, maybe for what the cluster did not have at start."""
        if self._wanted.judged_by - self._found:
            self.doubt(f"refused {', '.join(sorted(fields))}")

    async def run(self) -> None:
        """Until the kinds have changed or cannot be listed; then ServiceEnded says which."""
        self._note_progress()
        while True:
            await self._until_doubted()
            for _ in range(LOOKS):
                await self._look()
                await asyncio.sleep(LOOK_APART_S)
            log.info("kinds_unchanged")

    def _take_doubt(self, reason: str) -> None:
        if not self._doubted.is_set():
            log.info("kinds_doubted reason=%r", reason)
        self._doubted.set()

    async def _until_doubted(self) -> None:
        if not self._unlisted():
            self._note_progress()
        is_incomplete = bool(self._unlisted() or self._wanted.own - self._found)
        try:
            await asyncio.wait_for(self._doubted.wait(), IMPATIENCE_S if is_incomplete else None)
        except TimeoutError:
            missing = frozenset(self._unlisted()) | (self._wanted.own - self._found)
            log.warning("kinds_missing kinds=%r", _names(missing))
        self._doubted.clear()

    async def _look(self) -> None:
        found = await self._ask()
        if found == self._found:
            self._check_lists()
            return
        await asyncio.sleep(SETTLING_S)
        if await self._ask() == found:
            raise ServiceEnded(f"{_difference(self._found, found)}; begin anew with the kinds that there are")
        self.doubt("the kinds that are served change")

    async def _ask(self) -> frozenset[Kind]:
        pause_s = LOOK_APART_S
        while True:
            try:
                return self._present(await self._discovery.served())
            except KubeError as error:
                log.warning("kinds_unknown error=%r again_after_s=%.0f", str(error), pause_s)
            await asyncio.sleep(pause_s)
            pause_s = min(ASK_CAP_S, 2 * pause_s)
            self._note_progress()  # who does not answer cannot list either

    def _check_lists(self) -> None:
        """Only time in which no further kind was listed counts: a slow API server is no reason to begin anew."""
        unlisted = self._unlisted()
        waited_s = self._loop.time() - self._fewest_since_s
        if len(unlisted) < self._fewest:
            self._note_progress()
        elif waited_s >= LISTS_LIMIT_S:
            raise ServiceEnded(f"{_names(unlisted)}: served, but not listed within {LISTS_LIMIT_S:.0f} s")

    def _note_progress(self) -> None:
        self._fewest = len(self._unlisted()) or len(self._wanted.kinds) + 1
        self._fewest_since_s = self._loop.time()

    def _present(self, served: Served) -> frozenset[Kind]:
        return frozenset(kind for kind in self._wanted.kinds if is_served(kind, served))


class Answers(Protocol):
    """What counts the webhook server's answers."""

    def answered(
        self, operation: str, result: str, duration_s: float, *, denied_fields: tuple[str, ...] = ()
    ) -> None: ...


@dataclass(frozen=True, slots=True)
class Refusals:
    """Counts the webhook server's answers as `counted` does, and lets refusals raise doubts."""

    counted: Answers
    neighbours: Neighbours

    def answered(self, operation: str, result: str, duration_s: float, *, denied_fields: tuple[str, ...] = ()) -> None:
        self.counted.answered(operation, result, duration_s, denied_fields=denied_fields)
        if denied_fields:
            self.neighbours.refused(denied_fields)


async def until_served(discovery: Discovery, stop: asyncio.Event) -> Served | None:
    """What the API server serves, once it answers; None when stopped before."""
    while not stop.is_set():
        try:
            return await discovery.served()
        except KubeError as error:
            log.warning("waiting_for_api_server error=%r", str(error))
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), timeout=START_RETRY_S)
    return None


def _difference(before: frozenset[Kind], after: frozenset[Kind]) -> str:
    verbs = ((after - before, "came"), (before - after, "went"))
    return ", ".join(f"{_names(kinds)} {verb}" for kinds, verb in verbs if kinds)


def _names(kinds: Iterable[Kind]) -> str:
    return ", ".join(kind.name for kind in sorted(kinds))
