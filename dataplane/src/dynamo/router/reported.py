"""Load that workers report, and what of it other routers cause.

A report covers everything a rank does, later than this router knows its own requests. What a report says beyond this
router's own load at that moment is foreign: requests of other frontends. A request that just ended here and still
shows there looks foreign for one report, so only what several reports in a row show counts. Reports older than
`MAX_AGE_S` say nothing. Called by the router; pure, the clock is an argument.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from dynamo.router.active import SlotLoad
from dynamo.wire.router_events import Load

MAX_AGE_S = 10.0
"""Workers report changes within a fraction of a second; older silence is a broken feed, not steady load."""
_REPORTS = 3


@dataclass(frozen=True, slots=True)
class _Report:
    received_s: float
    load: Load
    foreign: SlotLoad


class ReportedLoads:
    """The last reports by slot."""

    def __init__(self) -> None:
        self._reports: dict[int, deque[_Report]] = {}

    def __len__(self) -> int:
        """Slots that ever reported."""
        return len(self._reports)

    def apply(self, slot: int, load: Load, own: SlotLoad, now_s: float) -> None:
        foreign = SlotLoad(
            max(0, load.running_requests + load.waiting_requests - own.requests),
            max(0, load.active_prefill_tokens - own.prefill_tokens),
            max(0, load.active_decode_blocks - own.decode_blocks),
        )
        self._reports.setdefault(slot, deque(maxlen=_REPORTS)).append(_Report(now_s, load, foreign))

    def foreign(self, slot: int, now_s: float) -> SlotLoad | None:
        """None: no lasting load of others is known."""
        reports = self._reports.get(slot)
        if reports is None or len(reports) < _REPORTS or reports[-1].received_s + MAX_AGE_S < now_s:
            return None
        return SlotLoad(
            min(report.foreign.requests for report in reports),
            min(report.foreign.prefill_tokens for report in reports),
            min(report.foreign.decode_blocks for report in reports),
        )

    def drop(self, slot: int) -> None:
        self._reports.pop(slot, None)
