"""The watching thread says that it lost its eyes even when kopf, having given up, never ends."""

from __future__ import annotations

import asyncio
import itertools
import threading
from typing import Any, cast

import kopf
import pytest

from dynamo_operator.handlers.watching import Watched, Watching
from dynamo_operator.kube import Access, Kind, Packed, Ref
from dynamo_operator.kube.objects import GRAPH

DEADLINE_S = 10.0


class Nobody:
    def listed(self, kind: Kind, namespace: str, objects: list[Packed], version: int) -> None:
        raise AssertionError("nothing is listed")

    def seen(self, packed: Packed) -> None:
        raise AssertionError("nothing is seen")

    def ended(self, ref: Ref, uid: str) -> None:
        raise AssertionError("nothing ends")


async def gives_up_and_hangs(*, registry: kopf.OperatorRegistry, stop_flag: threading.Event, **_: Any) -> None:
    """As after a 404: kopf cleans up, then waits for streams that wait for credentials which nobody brings."""
    for handler in registry._activities.get_all_handlers():
        if handler.id == "ending":
            await handler.fn()  # type: ignore[call-arg,misc]
    await asyncio.to_thread(stop_flag.wait)


async def test_a_watch_that_gave_up_and_never_ends_is_told_at_once_and_counts_as_failing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(kopf, "operator", gives_up_and_hangs)
    loop, told, restarts = asyncio.get_running_loop(), asyncio.Event(), itertools.count(1)
    heard: list[int] = []

    def on_restart() -> None:
        heard.append(next(restarts))
        loop.call_soon_threadsafe(told.set)

    ticks = itertools.count(1.0)
    watching = Watching(
        Access(cast(Any, None)),
        Watched((GRAPH,)),
        Nobody(),
        clock=lambda: next(ticks),
        on_restart=on_restart,
    )
    watching.start()
    await asyncio.wait_for(told.wait(), DEADLINE_S)
    assert watching.failing_for_s() > 0, "the health check must see it although the thread lives"
    await watching.stop()
    assert heard == [1], "one end is told once"
