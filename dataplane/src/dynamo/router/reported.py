"""Load that workers report, and what of it other routers cause.

A report covers everything a rank does, later than this router knows its own requests. What a report says beyond this
router's own load at that moment is foreign: requests of other frontends. A request that just ended here and still
shows there looks foreign for one report, so only what several reports in a row show counts. Reports older than
`MAX_AGE_S` say nothing. Called by the router; pure, the clock is an argument.
"""

from __future__ import annotations

from collections import deque

import numpy as np

from dynamo.router.columns import Column, Ints
from dynamo.router.loads import Loads, SlotLoad
from dynamo.wire.router_events import Load

MAX_AGE_S = 10.0
"""Workers report changes within a fraction of a second; older silence is a broken feed, not steady load."""
_REPORTS = 3
_MS = 1000


class ReportedLoads:
    """What the last reports of each slot have in common."""

    def __init__(self) -> None:
        self._foreign: dict[int, deque[SlotLoad]] = {}
        self._requests = Column()
        self._prefill_tokens = Column()
        self._decode_blocks = Column()
        self._good_until_ms = Column()

    def apply(self, slot: int, load: Load, own: SlotLoad, now_s: float) -> None:
        """`own`: this router's load on the slot now."""
        foreign = self._foreign.setdefault(slot, deque(maxlen=_REPORTS))
        foreign.append(
            SlotLoad(
                max(0, load.running_requests + load.waiting_requests - own.requests),
                max(0, load.active_prefill_tokens - own.prefill_tokens),
                max(0, load.active_decode_blocks - own.decode_blocks),
            )
        )
        if len(foreign) == _REPORTS:
            self._requests[slot] = min(report.requests for report in foreign)
            self._prefill_tokens[slot] = min(report.prefill_tokens for report in foreign)
            self._decode_blocks[slot] = min(report.decode_blocks for report in foreign)
            self._good_until_ms[slot] = int((now_s + MAX_AGE_S) * _MS)

    def foreign(self, slots: Ints, now_s: float) -> Loads | None:
        """Lasting load of others; None: none is known."""
        if not self._foreign:
            return None
        is_good = self._good_until_ms.of(slots) >= np.int64(now_s * _MS)
        return Loads(
            self._requests.of(slots) * is_good,
            self._prefill_tokens.of(slots) * is_good,
            self._decode_blocks.of(slots) * is_good,
        )

    def drop(self, slot: int) -> None:
        if self._foreign.pop(slot, None) is not None:
            for column in (self._requests, self._prefill_tokens, self._decode_blocks, self._good_until_ms):
                column[slot] = 0
