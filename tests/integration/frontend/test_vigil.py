"""Workers that stand still are found and given up, whatever discovery says; those that drain get all their time."""

from __future__ import annotations

import asyncio
import contextlib
import io
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import httpx
import pytest

from dynamo.frontend.relay import Collector
from dynamo.frontend.upstream import AnswerCut, Deadlines, Pool, WorkerFrozen
from dynamo.frontend.vigil import HttpProbe, Vigil
from dynamo.frontend.worker_requests import send
from dynamo.process.logs import EventLog
from dynamo.wire.cards import WorkerCard
from tests.integration.frontend.harness import (
    DEADLINE_S,
    SSE,
    FakeWorker,
    Line,
    Request,
    Script,
    a_chat,
    a_chunk,
    a_frame,
    a_json,
    a_stage,
    post,
)

EVERY_S = 0.1


@dataclass
class Ward:
    """A worker that was sent one request, over a connection that served before, and a quick vigil."""

    worker: FakeWorker
    vigil: Vigil
    pool: Pool
    answer: asyncio.Task[object]
    changes: int = 0
    suspects: list[str] = field(default_factory=list)
    text: io.StringIO = field(default_factory=io.StringIO)
    log: EventLog = field(default_factory=lambda: EventLog(io.StringIO()))

    @property
    def card(self) -> WorkerCard:
        return self.worker.card()

    @property
    def is_admitted(self) -> bool:
        return self.vigil.admitted([self.card]) == (self.card,)

    async def until(self, claim: str) -> None:
        async with asyncio.timeout(DEADLINE_S):
            while not getattr(self, claim):  # noqa: ASYNC110  # what is waited for has no event
                await asyncio.sleep(0.005)

    @property
    def is_refused(self) -> bool:
        return not self.is_admitted


async def silent(request: Request, line: Line) -> None:
    if request.target == "/live":
        await asyncio.Event().wait()
    await line.heard_hangup()


async def silent_in_mid_answer(request: Request, line: Line) -> None:
    if request.target != "/live":
        await line.say(SSE)
    await silent(request, line)


@contextlib.asynccontextmanager
async def a_ward(script: Script, every_s: float = EVERY_S) -> AsyncIterator[Ward]:
    worker, is_first, text = FakeWorker(script), True, io.StringIO()
    log = EventLog(text)

    async def first_answers(request: Request, line: Line) -> None:
        nonlocal is_first
        if is_first:
            is_first = False
            await line.say(a_json({}))
        else:
            await script(request, line)

    worker.script = first_answers
    await worker.open()
    clock = asyncio.get_running_loop().time
    pool, probes = Pool(clock=clock, deadlines=Deadlines()), Pool(clock=clock, deadlines=Deadlines())

    def on_change() -> None:
        ward.changes += 1

    vigil = Vigil(
        HttpProbe(probes),
        pool,
        log,
        every_s=every_s,
        on_change=on_change,
        on_suspect=lambda card, for_s: ward.suspects.append(card.name),
    )
    await send(pool, worker.card().address, post({}), Collector())
    answer: asyncio.Task[object] = asyncio.create_task(send(pool, worker.card().address, post({}), Collector()))
    ward = Ward(worker, vigil, pool, answer, text=text, log=log)
    try:
        async with asyncio.timeout(DEADLINE_S):
            while len(worker.requests) < 2:  # noqa: ASYNC110  # what is waited for has no event
                await asyncio.sleep(0.005)
            vigil.follow([worker.card()])
            yield ward
    finally:
        answer.cancel()
        vigil.close()
        probes.close()
        pool.close()
        await worker.close()


FAILURES = [
    pytest.param(silent, WorkerFrozen, id="before-an-answer"),
    pytest.param(silent_in_mid_answer, AnswerCut, id="within-an-answer"),
]


@pytest.mark.parametrize(("script", "failure"), FAILURES)
async def test_answer_of_a_frozen_worker_is_given_up(script: Script, failure: type[Exception]) -> None:
    async with a_ward(script) as ward:
        with pytest.raises(failure):
            await ward.answer

        assert ward.is_refused
        assert (ward.changes, ward.suspects[:1]) == (1, ["w0"]), "avoided first, then given up"
    asked = [request.target for request in ward.worker.requests]
    assert asked.count("/v1/chat/completions") == 2, "it is not asked again"


@pytest.mark.parametrize(("script", "failure"), FAILURES)
async def test_answer_of_a_frozen_worker_that_left_is_given_up(script: Script, failure: type[Exception]) -> None:
    async with a_ward(script, every_s=0.0) as ward:
        ward.vigil.follow([])
        with pytest.raises(failure):
            await ward.answer


async def test_worker_that_streams_is_not_frozen_however_silent_its_system_server() -> None:
    async def streams(request: Request, line: Line) -> None:
        if request.target == "/live":
            await asyncio.Event().wait()
        await line.say(SSE)
        for number in range(60):
            await line.say(a_chunk(a_frame(str(number))))
            await asyncio.sleep(0.01)
        await line.say(b"0\r\n\r\n")

    async with a_ward(streams) as ward:
        assert await ward.answer is not None
        assert ward.changes == 0
        probes = [request for request in ward.worker.requests if request.target == "/live"]
    assert probes


async def test_draining_worker_is_waited_for_however_long_it_is_silent() -> None:
    go = asyncio.Event()
    probes = 0

    async def drains(request: Request, line: Line) -> None:
        nonlocal probes
        if request.target == "/live":
            probes += 1
            if probes == 10:
                go.set()
        else:
            await go.wait()
        await line.say(a_json({"ok": True}))

    async with a_ward(drains) as ward:
        ward.vigil.follow([])
        assert await ward.answer is not None
    assert probes >= 10


async def test_frozen_worker_returns_only_after_two_answers() -> None:
    thawed, beats = asyncio.Event(), 0

    async def thaws(request: Request, line: Line) -> None:
        nonlocal beats
        if not thawed.is_set():
            await silent(request, line)
        beats += request.target == "/live"
        await line.say(a_json({}))

    async with a_ward(thaws) as ward:
        await ward.until("is_refused")
        ward.vigil.follow([])
        ward.vigil.follow([ward.card])
        assert ward.is_refused, "leaving and coming back proves nothing"
        thawed.set()
        await ward.until("is_admitted")
        assert (beats, ward.changes) == (2, 2)
    ward.log.flush()
    assert ward.text.getvalue().count("worker_back") == 1


async def test_worker_found_frozen_when_it_left_is_asked_again_when_it_returns() -> None:
    thawed = asyncio.Event()

    async def thaws(request: Request, line: Line) -> None:
        if not thawed.is_set():
            await silent(request, line)
        await line.say(a_json({}))

    async with a_ward(thaws, every_s=0.0) as ward:
        ward.vigil.follow([])
        await ward.until("is_refused")
        ward.vigil.follow([ward.card])
        thawed.set()
        await ward.until("is_admitted")


async def test_own_standstill_is_not_blamed_on_the_worker() -> None:
    standstills = 0

    async def lives(request: Request, line: Line) -> None:
        nonlocal standstills
        if request.target == "/live" and standstills < 3:
            # The worker runs in this event loop too: blocking it is what suspending the frontend would be.
            standstills += 1
            time.sleep(0.8)  # noqa: ASYNC251
        await line.say(a_json({}))

    async with a_ward(lives) as ward:
        async with asyncio.timeout(DEADLINE_S):
            while len(ward.worker.requests) < 8:  # noqa: ASYNC110  # what is waited for has no event
                await asyncio.sleep(0.005)
        assert (ward.changes, ward.suspects) == (0, [])


async def test_request_sent_to_a_worker_already_found_frozen_is_given_up_too() -> None:
    async with a_ward(silent) as ward:
        with pytest.raises(WorkerFrozen):
            await ward.answer
        with pytest.raises(WorkerFrozen):
            await send(ward.pool, ward.card.address, post({}), Collector())


async def test_frontend_lists_and_routes_to_living_workers_only() -> None:
    frozen = FakeWorker(silent, "w0")

    async def lives(request: Request, line: Line) -> None:
        await line.say(a_json({"usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}}))

    env = {"DYN_HTTP_BACKEND_HEALTH_INTERVAL_SECS": str(EVERY_S)}
    async with (
        a_stage(frozen, lives, env=env) as stage,
        httpx.AsyncClient(base_url=stage.url, timeout=DEADLINE_S) as client,
    ):
        await stage.until(lambda: len(stage.running.fleet.cards) == 1)
        listed = [instance["name"] for instance in (await client.get("/health")).json()["instances"]]
        statuses = [(await client.post("/v1/chat/completions", json=a_chat())).status_code for _ in range(4)]

    assert (listed, statuses) == (["w1"], [200] * 4)
    assert not [request for request in frozen.requests if request.target != "/live"]
