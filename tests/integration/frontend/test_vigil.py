"""Workers that left discovery owing answers: those that drain get all the time they need, frozen ones do not."""

from __future__ import annotations

import asyncio
import contextlib
import io
from collections.abc import AsyncIterator

import httpx
import pytest

from dynamo.frontend.relay import Collector
from dynamo.frontend.upstream import AnswerCut, Deadlines, Pool, WorkerFrozen
from dynamo.frontend.vigil import Vigil
from dynamo.frontend.worker_requests import send
from dynamo.process.logs import EventLog
from tests.integration.frontend.harness import DEADLINE_S, SSE, FakeWorker, Line, Request, Script, a_json, post


async def silent(request: Request, line: Line) -> None:
    if request.target == "/live":
        await asyncio.Event().wait()
    await line.heard_hangup()


async def silent_in_mid_answer(request: Request, line: Line) -> None:
    if request.target != "/live":
        await line.say(SSE)
    await silent(request, line)


@contextlib.asynccontextmanager
async def an_awaited_worker(script: Script) -> AsyncIterator[tuple[FakeWorker, Vigil, asyncio.Task[object]]]:
    """A worker that was sent one request, over a connection that served before, and a quick vigil."""
    worker, is_first = FakeWorker(script), True

    async def first_answers(request: Request, line: Line) -> None:
        nonlocal is_first
        if is_first:
            is_first = False
            await line.say(a_json({}))
        else:
            await script(request, line)

    worker.script = first_answers
    await worker.open()
    pool = Pool(clock=asyncio.get_running_loop().time, deadlines=Deadlines())
    async with httpx.AsyncClient() as http:
        vigil = Vigil(http, pool, EventLog(io.StringIO()), every_s=0.02, timeout_s=0.1)
        vigil.follow([worker.card()])
        await send(pool, worker.card().address, post({}), Collector())
        answer: asyncio.Task[object] = asyncio.create_task(send(pool, worker.card().address, post({}), Collector()))
        try:
            async with asyncio.timeout(DEADLINE_S):
                while len(worker.requests) < 2:  # noqa: ASYNC110  # what is waited for has no event
                    await asyncio.sleep(0.005)
                yield worker, vigil, answer
        finally:
            answer.cancel()
            vigil.close()
            pool.close()
            await worker.close()


@pytest.mark.parametrize(
    ("script", "failure"),
    [
        pytest.param(silent, WorkerFrozen, id="before-an-answer"),
        pytest.param(silent_in_mid_answer, AnswerCut, id="within-an-answer"),
    ],
)
async def test_answer_of_a_frozen_worker_is_given_up_once_it_left(script: Script, failure: type[Exception]) -> None:
    async with an_awaited_worker(script) as (worker, vigil, answer):
        vigil.follow([])
        with pytest.raises(failure):
            await answer

    assert [request.target for request in worker.requests].count("/v1/chat/completions") == 2, "it is not asked again"


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

    async with an_awaited_worker(drains) as (_, vigil, answer):
        vigil.follow([])
        assert await answer is not None
    assert probes >= 10


async def test_worker_that_returns_is_not_given_up() -> None:
    async with an_awaited_worker(silent) as (worker, vigil, answer):
        vigil.follow([])
        vigil.follow([worker.card()])
        done, _ = await asyncio.wait([answer], timeout=0.4)

    assert done == set()
