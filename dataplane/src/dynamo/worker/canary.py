"""Asks an engine that gets nothing done for one token, to see whether it still can.

A worker's supervisor goes on answering while its engine stands still; only a request tells them apart. A rank whose
progress stands still for a while is sent a canary; without an answer in time, and without progress meanwhile, it counts
as silent until it gets something done again. Judges nothing else and ends nothing. Run by the shell while the worker
serves.
"""

from __future__ import annotations

import asyncio
import enum
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from dynamo.worker.canary_request import Canary

LOOKS_PER_WAIT = 4
"""How often progress is looked at while it is awaited: a stop is seen this share of the wait late at most."""


class Verdict(enum.Enum):
    ANSWERS = "answers"
    SILENT = "silent"
    REFUSED = "refused"
    """It took the canary for a wrong request: that says nothing of the engine behind its server."""


@dataclass(frozen=True, slots=True)
class CanaryTerms:
    """When to ask and what."""

    wait_s: float = 10.0
    """Without progress, before a canary is sent."""
    timeout_s: float = 3.0
    """For its answer; also the pause before a silent rank is asked again."""
    body: Mapping[str, Any] | None = None
    """What to ask instead of one token."""


async def watch(
    rank: int, canary: Canary, terms: CanaryTerms, progress: Callable[[], int], tell: Callable[[Verdict], None]
) -> None:
    """Until cancelled. `progress` is a number that grows with the rank's work; `tell` hears every verdict."""
    verdict = Verdict.ANSWERS
    while True:
        if await _moves(progress, terms.timeout_s if verdict is Verdict.SILENT else terms.wait_s):
            verdict = Verdict.ANSWERS
        else:
            before = progress()
            status = await canary.ask(rank, terms.timeout_s)
            verdict = judge(status, has_moved=progress() != before)
        tell(verdict)


async def _moves(progress: Callable[[], int], wait_s: float) -> bool:
    """True as soon as something gets done, False when nothing did for `wait_s`."""
    before = progress()
    for _ in range(LOOKS_PER_WAIT):
        # What is looked at is a number: it announces nothing.
        await asyncio.sleep(wait_s / LOOKS_PER_WAIT)
        if progress() != before:
            return True
    return False


def judge(status: int | None, *, has_moved: bool) -> Verdict:
    """What a canary's fate says of its rank. A busy one may let it wait."""
    if has_moved or (status is not None and status < 300):
        return Verdict.ANSWERS
    return Verdict.REFUSED if status is not None and status < 500 else Verdict.SILENT
