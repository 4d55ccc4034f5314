"""Scripted misbehaviour of one request, for tests of whoever must survive it.

A script is a comma-separated list of the forms in `FORMS`; counts are tokens already delivered to this client. Only an
engine started with `--enable-faults` reads scripts. `parse_script` is pure; `FaultyPath` stands between the scheduler
and the answer and delays, ends or breaks the delivery.
"""

from __future__ import annotations

import asyncio
import re
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from dynamo.mocker.work import Emitted
from dynamo.wire.errors import InvalidRequest

FORMS = (
    "die@N, freeze@N, close@N, error@N (after N tokens), stall:SECONDS@N, error:STATUS (400..599), slow:FACTOR, split@*"
)
FIELD = "mocker_fault"
DEATH_DELAY_S = 0.02
"""Lets the tokens before a scripted death leave the process."""
_AT_TOKEN = re.compile(r"(die|freeze|close|error)@(\d{1,9})")
_STALL = re.compile(r"stall:(\d+(?:\.\d+)?)@(\d{1,9})")
_STATUS = re.compile(r"error:([45]\d\d)")
_SLOW = re.compile(r"slow:(\d+(?:\.\d+)?)")


@dataclass(frozen=True, slots=True)
class Script:
    """What goes wrong; None or 1 where nothing does."""

    die_at: int | None = None
    freeze_at: int | None = None
    close_at: int | None = None
    error_at: int | None = None
    stall_at: int | None = None
    stall_s: float = 0.0
    status: int | None = None
    slow_factor: float = 1.0
    splits: bool = False


def parse_script(text: str) -> Script:
    """Raises InvalidRequest naming the field and the allowed forms."""
    found: dict[str, int | float | bool] = {}
    for part in text.split(","):
        part = part.strip()
        if match := _AT_TOKEN.fullmatch(part):
            found[f"{match[1]}_at"] = int(match[2])
        elif match := _STALL.fullmatch(part):
            found |= {"stall_s": float(match[1]), "stall_at": int(match[2])}
        elif match := _STATUS.fullmatch(part):
            found["status"] = int(match[1])
        elif (match := _SLOW.fullmatch(part)) and float(match[1]) >= 1:
            found["slow_factor"] = float(match[1])
        elif part == "split@*":
            found["splits"] = True
        else:
            raise InvalidRequest(f"{FIELD}: found {part!r}; allowed are {FORMS}", param=FIELD)
    return Script(**found)  # type: ignore[arg-type]


class Target(Protocol):
    """The answer that a script disturbs."""

    def deliver(self, emitted: Emitted) -> None: ...
    def fail(self, message: str) -> None: ...
    def cut(self) -> None: ...


class FaultyPath:
    """Passes one request's tokens on, in order, with the script's accidents."""

    def __init__(
        self, script: Script, target: Target, loop: asyncio.AbstractEventLoop, die: Callable[[], None]
    ) -> None:
        self._script = script
        self._target = target
        self._loop = loop
        self._die = die
        self._started_s = loop.time()
        self._slowed: deque[Emitted] = deque()
        self._stopped: deque[Emitted] = deque()
        self._delivered = 0
        self._is_stopped = False
        self._has_stalled = False

    def push(self, emitted: Emitted) -> None:
        factor = self._script.slow_factor
        if factor == 1:
            self._pass(emitted)
            return
        elapsed_s = self._loop.time() - self._started_s
        self._slowed.append(emitted)
        self._loop.call_later(elapsed_s * (factor - 1), self._pass_oldest_slowed)

    def _pass_oldest_slowed(self) -> None:
        """One timer per slowed token; equal due times may fire in any order, tokens may not."""
        self._pass(self._slowed.popleft())

    def _pass(self, emitted: Emitted) -> None:
        if not self._is_stopped:
            self._break_if_due()
        if self._is_stopped:
            self._stopped.append(emitted)
            return
        self._delivered += emitted.token is not None
        self._target.deliver(emitted)

    def _break_if_due(self) -> None:
        script, count = self._script, self._delivered
        if script.stall_at == count and not self._has_stalled:
            self._is_stopped = self._has_stalled = True
            self._loop.call_later(script.stall_s, self._resume)
        elif script.freeze_at == count:
            self._is_stopped = True
        elif script.die_at == count:
            self._is_stopped = True
            self._loop.call_later(DEATH_DELAY_S, self._die)
        elif script.close_at == count:
            self._is_stopped = True
            self._target.cut()
        elif script.error_at == count:
            self._is_stopped = True
            self._target.fail("scripted fault: the engine failed while it generated")

    def _resume(self) -> None:
        self._is_stopped = False
        waiting, self._stopped = self._stopped, deque()
        for emitted in waiting:
            self._pass(emitted)
