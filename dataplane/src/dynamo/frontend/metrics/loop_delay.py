"""A canary for the event loop: how late a short sleep wakes. A late canary means that every stream was late."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from dynamo.frontend.metrics.counts import Counts

SLEEP_S = 0.25
"""Upstream looks every 10 ms; a wake-up costs CPU that nobody asked for, and a loop in trouble shows at any rate."""
STALL_S = 0.005


async def watch_loop_delay(counts: Counts, *, clock: Callable[[], float]) -> None:
    """Runs until cancelled."""
    while True:
        began_s = clock()
        await asyncio.sleep(SLEEP_S)
        delay_s = max(0.0, clock() - began_s - SLEEP_S)
        counts.loop_delay_s.observe(delay_s)
        counts.loop_stalls += delay_s > STALL_S
