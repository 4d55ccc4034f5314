"""Events are told once, counted up rarely, and never in the way."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import pytest

from dynamo_operator.kube import Conflict, Document, Ending, Gone, KubeError, Live, Ref, Unreachable, ref_of
from dynamo_operator.kube.events import BURST, REPEAT_S, Recorder, event_document, event_ref
from dynamo_operator.kube.objects import GRAPH
from dynamo_operator.reconcile import Happening

NOTICE = Happening(Ref(GRAPH, "shop", "g"), "uid-1", "Scaled", "2 -> 3")


@dataclass
class Events:
    """Knows Events by reference; `error` makes every call fail."""

    known: dict[Ref, Document] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    error: KubeError | None = None

    async def create(self, document: Document) -> Live:
        return self._take("create", ref_of(document, ""), document)

    async def merge(self, ref: Ref, change: Document) -> Live:
        return self._take("merge", ref, change)

    def _take(self, verb: str, ref: Ref, document: Document) -> Live:
        self.calls.append(verb)
        if self.error:
            raise self.error
        if (ref in self.known) == (verb == "create"):
            raise Conflict("exists") if verb == "create" else Gone("expired")
        self.known[ref] = {**self.known.get(ref, {}), **document}
        return Live(ref, "u", 0, "1", self.known[ref])


@dataclass
class Clock:
    now: datetime = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


async def test_repetitions_are_counted_and_written_when_due() -> None:
    events, clock = Events(), Clock()
    recorder = Recorder(events, clock=clock)
    for _ in range(10):
        await recorder.record(NOTICE)
        clock.advance(1)
    assert events.calls == ["create"]
    clock.advance(REPEAT_S)
    await recorder.record(NOTICE)
    assert events.calls == ["create", "merge"]
    assert events.known[event_ref(NOTICE)]["count"] == 11


async def test_an_event_from_before_a_restart_is_counted_on() -> None:
    ref, clock = event_ref(NOTICE), Clock()
    events = Events(known={ref: event_document(ref, NOTICE, 5, clock.now)})
    recorder = Recorder(events, clock=clock)
    await recorder.record(NOTICE)
    clock.advance(REPEAT_S)
    await recorder.record(NOTICE)
    assert events.known[ref]["count"] == 6


async def test_an_event_that_the_server_forgot_is_written_anew() -> None:
    events, clock = Events(), Clock()
    recorder = Recorder(events, clock=clock)
    await recorder.record(NOTICE)
    events.known.clear()
    clock.advance(REPEAT_S)
    await recorder.record(NOTICE)
    assert events.known[event_ref(NOTICE)]["count"] == 2


async def test_one_object_cannot_flood() -> None:
    events = Events()
    recorder = Recorder(events, clock=Clock())
    for number in range(3 * BURST):
        await recorder.record(replace(NOTICE, message=f"number {number}"))
    assert len(events.calls) == BURST


async def test_a_failing_event_is_forgotten() -> None:
    events = Events(error=Unreachable("down"))
    await Recorder(events, clock=Clock()).record(NOTICE)
    assert events.calls == ["create"]


def test_the_name_tells_happenings_apart() -> None:
    others = [replace(NOTICE, reason="X"), replace(NOTICE, message="X"), replace(NOTICE, about_uid="X")]
    refs = {event_ref(notice) for notice in (NOTICE, *others, replace(NOTICE, is_warning=True))}
    assert len(refs) == 5
    assert event_ref(NOTICE) == event_ref(replace(NOTICE))


def test_an_event_lies_beside_its_object_and_has_a_valid_name() -> None:
    long = replace(NOTICE, about=Ref(GRAPH, "shop", "n" * 253))
    assert event_ref(long).namespace == "shop"
    assert len(event_ref(long).name) <= 253


async def test_events_of_a_namespace_that_goes_are_let_go(caplog: pytest.LogCaptureFixture) -> None:
    """Each is tried once, and nobody reads in a log that it failed."""
    events, clock = Events(error=Ending("unable to create new content in namespace shop")), Clock()
    recorder = Recorder(events, clock=clock)
    for _ in range(5):
        await recorder.record(NOTICE)
        clock.advance(1)
    assert events.calls == ["create"]
    assert caplog.text == ""
