"""An engine that stands still behind a supervisor that goes on: found by a canary, given up, and taken back."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import httpx
import pytest

from dynamo.discovery.mem import MemFleet
from dynamo.frontend.server import running_frontend
from dynamo.frontend.settings import read_settings
from dynamo.mocker.config import MockerConfig
from dynamo.mocker.engine import MockerEngine
from dynamo.mocker.rank import RankLoop
from dynamo.mocker.timing import Polynomial, Speed
from dynamo.process.logs import EventLog
from dynamo.wire.cards import WorkerCard
from dynamo.worker.canary import CanaryTerms
from dynamo.worker.canary_request import Canary
from dynamo.worker.shell import serve_worker
from tests.integration.worker.running import a_config, eventually_async

TERMS = CanaryTerms(wait_s=0.2, timeout_s=0.2)
DEADLINE_S = 10.0


class FreezableEngine(MockerEngine):
    """Its ranks can be stopped as a hung device would stop them; its server goes on taking requests."""

    def rank(self, number: int = 0) -> RankLoop:
        assert self._service is not None
        return self._service.ranks[number]

    @property
    def accepted(self) -> int:
        """Requests ever."""
        assert self._service is not None
        return self._service._serial

    def freeze(self, number: int = 0) -> None:
        self.rank(number)._begin_step = lambda start_s: None  # type: ignore[method-assign]

    def thaw(self, number: int = 0) -> None:
        rank = self.rank(number)
        del rank._begin_step
        rank._begin_step(asyncio.get_running_loop().time())


@dataclass
class Worker:
    engine: FreezableEngine
    card: WorkerCard
    said: io.StringIO
    log: EventLog
    http: httpx.AsyncClient = field(repr=False)

    async def status(self, path: str) -> int:
        return (await self.http.get(self.card.system_address + path)).status_code

    async def is_ready(self) -> bool:
        return [await self.status(path) for path in ("/health", "/live")] == [200, 200]

    async def is_notready(self) -> bool:
        return [await self.status(path) for path in ("/health", "/live")] == [503, 503]

    async def complete(self, **fields: Any) -> httpx.Response:
        body = {"model": "tiny", "prompt": "Hi.", **fields}
        return await self.http.post(self.card.address + "/v1/completions", json=body)

    def events(self, name: str) -> list[dict[str, Any]]:
        self.log.flush()
        found = [json.loads(line) for line in self.said.getvalue().splitlines()]
        return [one for one in found if one["event"] == name]


@asynccontextmanager
async def a_worker(
    fleet: MemFleet | None = None, *, canary: CanaryTerms | None = TERMS, worker_id: int = 1, ranks: int = 1
) -> AsyncIterator[Worker]:
    said, stop, fleet = io.StringIO(), asyncio.Event(), fleet or MemFleet()
    log = EventLog(said, as_json=True)
    engine = FreezableEngine(MockerConfig(model="tiny", speed=Speed(Polynomial()), data_parallel_size=ranks), log)
    config = a_config(worker_id=worker_id, name=f"w{worker_id}", canary=canary, drain_s=0.1)
    task = asyncio.create_task(serve_worker(engine, config, fleet, stop, log))
    try:
        async with httpx.AsyncClient(timeout=DEADLINE_S, trust_env=False) as http:
            yield Worker(engine, await _card(fleet, worker_id), said, log, http)
    finally:
        stop.set()
        await asyncio.wait_for(task, DEADLINE_S)


async def _card(fleet: MemFleet, worker_id: int) -> WorkerCard:
    async with asyncio.timeout(DEADLINE_S):
        async for cards in fleet.watch():
            if found := [card for card in cards if card.worker_id == worker_id]:
                return found[0]
    raise AssertionError("the watch ended")


async def test_idle_engine_that_stands_still_is_notready_until_it_answers_again() -> None:
    async with a_worker() as worker:
        assert await worker.is_ready()
        worker.engine.freeze()
        await eventually_async(worker.is_notready)
        health = (await worker.http.get(worker.card.system_address + "/health")).json()
        assert (health["status"], health["endpoints"]) == ("notready", {"generate": "notready"})

        worker.engine.thaw()
        await eventually_async(worker.is_ready)

        assert [one["rank"] for one in worker.events("engine_silent")] == [0]
        assert len(worker.events("engine_answers_again")) == 1


async def test_idle_engine_that_answers_stays_ready() -> None:
    async with a_worker() as worker:

        async def has_been_asked() -> bool:
            assert await worker.is_ready()
            return worker.engine.accepted >= 3

        await eventually_async(has_been_asked)


async def test_engine_that_stops_in_the_middle_of_its_work_is_noticed() -> None:
    async with a_worker() as worker:
        asked = asyncio.create_task(worker.complete(max_tokens=5000))
        try:
            await eventually_async(lambda: _has_steps(worker, 5))
            worker.engine.freeze()
            await eventually_async(worker.is_notready)
            assert worker.events("engine_silent")[0]["in_flight"] >= 1
        finally:
            asked.cancel()
            await asyncio.gather(asked, return_exceptions=True)


async def _has_steps(worker: Worker, least: int) -> bool:
    return worker.engine.progress[0] >= least


async def test_arrivals_do_not_pass_for_progress() -> None:
    async with a_worker() as worker:
        worker.engine.freeze()
        asked: list[asyncio.Task[httpx.Response]] = []

        async def is_notready_however_many_ask() -> bool:
            asked.append(asyncio.create_task(worker.complete()))
            return await worker.is_notready()

        try:
            await eventually_async(is_notready_however_many_ask)
        finally:
            for one in asked:
                one.cancel()
            await asyncio.gather(*asked, return_exceptions=True)


async def test_busy_engine_is_not_asked() -> None:
    async with a_worker() as worker:
        steps = worker.engine.progress[0]
        answer = await worker.complete(max_tokens=150)

        assert answer.status_code == 200
        assert worker.engine.progress[0] >= steps + 150, "longer than several waits"
        own = [one for one in worker.events("request") if one["output_tokens"] == 150]
        assert len(own) == 1
        during = [one for one in worker.events("request") if one not in own]
        assert len(during) <= 1, "at most one before it began"
        assert await worker.is_ready()


async def test_one_rank_that_stands_still_among_others_is_noticed() -> None:
    async with a_worker(ranks=2) as worker:
        worker.engine.freeze(1)
        await eventually_async(worker.is_notready)

        assert [one["rank"] for one in worker.events("engine_silent")] == [1]
        worker.engine.thaw(1)
        await eventually_async(worker.is_ready)


async def test_canary_names_the_rank_that_is_meant() -> None:
    heads: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        canary = Canary("127.0.0.1", port, "/v1/completions", b"{}")
        statuses = [await one.ask(3, 5.0) for one in (canary, replace(canary, is_parallel=True))]

    assert statuses == [200, 200]
    assert [b"x-data-parallel-rank: 3" in head for head in heads] == [False, True]


async def test_no_canary_flies_unless_asked_for() -> None:
    async with a_worker(canary=None) as worker, a_worker(worker_id=2) as other:

        async def has_been_asked() -> bool:
            return other.engine.accepted >= 3

        await eventually_async(has_been_asked)
        assert worker.engine.accepted == 0


async def test_refused_canary_says_nothing_of_the_engine_but_is_said_once() -> None:
    async with a_worker(canary=CanaryTerms(0.1, 0.2, {"prompt": "Hi.", "max_tokens": -1})) as worker:

        async def is_refused() -> bool:
            return bool(worker.events("canary_refused"))

        await eventually_async(is_refused)
        assert await worker.is_ready()
        assert not worker.events("engine_silent")


@pytest.mark.parametrize("is_streamed", [True, False], ids=["streamed", "whole"])
async def test_frontend_gives_up_the_engine_that_stands_still_and_takes_it_back(is_streamed: bool) -> None:
    fleet, said = MemFleet(), io.StringIO()
    settings = read_settings(
        ["--http-port", "0", "--http-host", "127.0.0.1"], {"DYN_HTTP_BACKEND_HEALTH_INTERVAL_SECS": "0.2"}
    )[0]
    async with (
        a_worker(fleet) as frozen,
        running_frontend(settings, fleet, EventLog(said)) as frontend,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{frontend.port}", timeout=DEADLINE_S, trust_env=False) as http,
    ):
        ask = {"model": "tiny", "prompt": "Hi.", "max_tokens": 5000, "stream": is_streamed}
        asked = asyncio.create_task(http.post("/v1/completions", json=ask))
        await eventually_async(lambda: _has_steps(frozen, 5))
        frozen.engine.freeze()

        answer = await asked

        if is_streamed:
            assert '"error"' in answer.text
        else:
            assert answer.status_code in (500, 502, 503, 504)
        async with a_worker(fleet, worker_id=2):
            ask = {"model": "tiny", "prompt": "Hi.", "max_tokens": 2}
            answers = [await http.post("/v1/completions", json=ask) for _ in range(4)]
            assert [one.status_code for one in answers] == [200] * 4
        frozen.engine.thaw()

        async def serves_again() -> bool:
            return (await http.post("/v1/completions", json=ask)).status_code == 200

        await eventually_async(serves_again)
