"""From an engine's socket to a router's picture, over real ZMQ and HTTP."""

from __future__ import annotations

import asyncio
import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import msgspec
import pytest

from dynamo.discovery.file import FileDiscovery, card_path
from dynamo.events import relay
from dynamo.events.feed import EventFeed
from dynamo.events.state_client import HttpStateSource
from dynamo.process.logs import EventLog
from dynamo.wire.blocks import block_hashes, sequence_hashes
from dynamo.wire.cards import WorkerCard
from dynamo.wire.router_events import Tier
from dynamo.worker.ports import EngineLoad
from tests.contract.test_discovery import a_card, until
from tests.integration.worker.fake_engine import BLOCK_SIZE, CLEARED, FakeEngine, removed, stored
from tests.integration.worker.running import a_config, eventually, running
from tests.unit.dataplane.events.test_following import Sink

WORKER = 0xABC
TOKENS = list(range(3 * BLOCK_SIZE))
NAMES: list[int] = sequence_hashes(block_hashes(TOKENS, BLOCK_SIZE)).tolist()


@dataclass
class Router:
    sink: Sink
    feed: EventFeed
    output: io.StringIO

    async def shows(self, *names: int, worker_id: int = WORKER, dp_rank: int = 0) -> None:
        wanted = {Tier.DEVICE: set(names)} if names else {}
        await eventually(lambda: self.sink.content(worker_id, dp_rank) == wanted)

    async def is_up_to_date(self) -> None:
        await eventually(lambda: self.feed.behind == () and self.feed.counts.messages > 0)
        await eventually(lambda: self.feed.behind == ())


@asynccontextmanager
async def a_router() -> AsyncIterator[Router]:
    sink, output = Sink(), io.StringIO()
    async with (
        httpx.AsyncClient(trust_env=False) as client,
        EventFeed(sink, HttpStateSource(client), EventLog(output, as_json=True)) as feed,
    ):
        yield Router(sink, feed, output)


async def test_events_reach_the_sink_as_they_happen() -> None:
    async with running() as worker, a_router() as router:
        router.feed.follow((await worker.card(),))
        worker.engine.emit(stored(1, TOKENS))
        await router.shows(*NAMES)
        worker.engine.emit(removed(3), stored(4, [9] * BLOCK_SIZE))
        other = sequence_hashes(block_hashes([9] * BLOCK_SIZE, BLOCK_SIZE)).tolist()
        await router.shows(*NAMES[:2], *other)
        worker.engine.emit(CLEARED)
        await router.shows()


async def test_late_router_fetches_what_happened_before() -> None:
    async with running() as worker, a_router() as early, a_router() as late:
        card = await worker.card()
        early.feed.follow((card,))
        worker.engine.emit(stored(1, TOKENS))
        await early.shows(*NAMES)
        late.feed.follow((card,))
        await late.shows(*NAMES)
        assert late.feed.counts.events == 0


async def test_ranks_are_kept_apart() -> None:
    async with running(FakeEngine(ranks=2)) as worker, a_router() as router:
        router.feed.follow((await worker.card(),))
        worker.engine.emit(stored(1, TOKENS), rank=1)
        await router.shows(*NAMES, dp_rank=1)
        assert router.sink.content(WORKER, 0) == {}


async def test_loads_are_told_when_they_change() -> None:
    async with running() as worker, a_router() as router:
        router.feed.follow((await worker.card(),))
        worker.engine.load = EngineLoad(active_decode_blocks=7, waiting_requests=2)
        await eventually(lambda: any(load.active_decode_blocks == 7 for load in router.sink.loads))
        assert router.sink.loads[-1].waiting_requests == 2


async def test_junk_from_the_engine_is_counted_and_the_next_event_arrives() -> None:
    async with running() as worker, a_router() as router:
        router.feed.follow((await worker.card(),))
        worker.engine.emit_raw(b"\xc1 junk")
        worker.engine.emit({"type": "BlockMoved"})
        worker.engine.emit(stored(1, TOKENS))
        await router.shows(*NAMES)
        async with httpx.AsyncClient(trust_env=False) as client:
            text = (await client.get(f"{(await worker.card()).system_address}/metrics")).text
    assert "zmq_conversion_issues_total" in text
    assert '"kv_event_unreadable"' in worker.output.getvalue()


async def test_engine_gap_clears_what_is_no_longer_known() -> None:
    async with running() as worker, a_router() as router:
        router.feed.follow((await worker.card(),))
        worker.engine.emit(stored(1, TOKENS))
        await router.shows(*NAMES)
        worker.engine.emit(stored(9, [7] * BLOCK_SIZE), skip=2)
        await router.shows(*sequence_hashes(block_hashes([7] * BLOCK_SIZE, BLOCK_SIZE)).tolist())
    assert "kv_events_gap" in worker.events()


async def test_engine_gap_is_closed_by_its_replay() -> None:
    async with running(FakeEngine(kept=99)) as worker, a_router() as router:
        router.feed.follow((await worker.card(),))
        worker.engine.emit(stored(1, TOKENS[:BLOCK_SIZE]))
        worker.engine.lose(stored(2, TOKENS[BLOCK_SIZE : 2 * BLOCK_SIZE], parent=1))
        worker.engine.emit(stored(3, TOKENS[2 * BLOCK_SIZE :], parent=2))
        await eventually(worker.engine.answer_replay)
        await router.shows(*NAMES)
    assert "kv_events_replay" in worker.events()
    assert "kv_events_gap" not in worker.events()


async def test_replay_that_no_longer_has_the_beginning_clears() -> None:
    async with running(FakeEngine(kept=1)) as worker, a_router() as router:
        router.feed.follow((await worker.card(),))
        worker.engine.emit(stored(1, TOKENS))
        worker.engine.lose(removed(3))
        worker.engine.lose(removed(2))
        worker.engine.emit(stored(1, TOKENS[:BLOCK_SIZE]))
        await eventually(worker.engine.answer_replay)
        await router.shows(NAMES[0])
    assert "kv_events_gap" in worker.events()


async def test_silent_replay_does_not_hold_events_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay, "REPLAY_TIMEOUT_S", 0.1)
    async with running(FakeEngine(kept=99)) as worker, a_router() as router:
        router.feed.follow((await worker.card(),))
        worker.engine.emit(stored(1, TOKENS[:BLOCK_SIZE]), skip=1)
        worker.engine.emit(stored(2, TOKENS[BLOCK_SIZE : 2 * BLOCK_SIZE], parent=1))
        await router.shows(*NAMES[:2])


async def test_restarted_engine_starts_empty() -> None:
    async with running() as worker, a_router() as router:
        router.feed.follow((await worker.card(),))
        worker.engine.emit(stored(1, TOKENS))
        await router.shows(*NAMES)
        worker.engine.emit(stored(1, TOKENS[:BLOCK_SIZE]), skip=-1)
        await router.shows(NAMES[0])


async def test_worker_that_leaves_is_dropped() -> None:
    async with running() as worker, a_router() as router:
        router.feed.follow((await worker.card(),))
        await router.is_up_to_date()
        router.feed.follow(())
        assert router.sink.dropped == [WORKER]


async def test_restarted_worker_starts_empty_under_its_new_id() -> None:
    async with a_router() as router:
        async with running() as first:
            router.feed.follow((await first.card(),))
            first.engine.emit(stored(1, TOKENS))
            await router.shows(*NAMES)
        async with running(config=a_config(worker_id=0xDEF)) as second:
            router.feed.follow((await second.card(),))
            assert router.sink.dropped == [WORKER]
            second.engine.emit(stored(1, TOKENS[:BLOCK_SIZE]))
            await router.shows(NAMES[0], worker_id=0xDEF)


async def test_changed_card_does_not_disturb_the_subscription() -> None:
    async with running() as worker, a_router() as router:
        card = await worker.card()
        router.feed.follow((card,))
        await router.is_up_to_date()
        fetched = router.feed.counts.recoveries
        router.feed.follow((msgspec.structs.replace(card, loras=("sql",)),))
        worker.engine.emit(stored(1, TOKENS))
        await router.shows(*NAMES)
        assert router.sink.dropped == []
        assert router.feed.counts.recoveries == fetched


async def test_unreachable_worker_is_retried_and_harms_nobody() -> None:
    dead = a_card(5, event_address="tcp://127.0.0.1:1", system_address="http://127.0.0.1:1")
    broken = a_card(6, event_address="no address", system_address="nonsense")
    async with running() as worker, a_router() as router:
        router.feed.follow((dead, broken, await worker.card()))
        worker.engine.emit(stored(1, TOKENS))
        await router.shows(*NAMES)
        await eventually(lambda: router.feed.counts.failed_fetches >= 2)
    events = [json.loads(line)["event"] for line in router.output.getvalue().splitlines()]
    assert events.count("kv_state_fetch_failed") == 1
    assert "event_address_unusable" in events


async def test_burst_is_followed_to_the_end() -> None:
    async with running() as worker, a_router() as router:
        router.feed.follow((await worker.card(),))
        for handle in range(3000):
            worker.engine.emit(stored(handle, [handle] * BLOCK_SIZE))
            if handle % 100 == 0:
                await asyncio.sleep(0)
        await eventually(lambda: len(router.sink.content(WORKER).get(Tier.DEVICE, set())) == 3000)


PROCESS = """
import asyncio, os, sys
from dynamo.process.flags import parse_flags
from dynamo.process.logs import start_logging
from dynamo.worker.config import COMMON_WORKER_FLAGS, worker_config
from dynamo.worker.shell import run_worker
from tests.integration.worker.fake_engine import FakeEngine
values = parse_flags((), os.environ, COMMON_WORKER_FLAGS).values
config = worker_config(values, os.environ, engine="fake", model="tiny")
sys.exit(asyncio.run(run_worker(FakeEngine(), config, start_logging(os.environ))))
"""


def a_process(folder: Path) -> subprocess.Popen[bytes]:
    env = {
        **os.environ,
        "DYN_FILE_KV": str(folder),
        "DYN_TCP_RPC_HOST": "127.0.0.1",
        "DYN_NAMESPACE": "default-agg",
        "DYN_NAMESPACE_WORKER_SUFFIX": "0a1b2c3d",
        "DYN_GRACEFUL_SHUTDOWN_GRACE_PERIOD_SECS": "0.2",
        "POD_NAME": "w-1",
    }
    return subprocess.Popen([sys.executable, "-c", PROCESS], env=env, stderr=subprocess.PIPE)


def end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.communicate()


async def test_killed_worker_is_gone_within_two_seconds(tmp_path: Path) -> None:
    process = a_process(tmp_path)
    try:
        async with aclosing(FileDiscovery(tmp_path).watch()) as watch, a_router() as router:
            async with asyncio.timeout(20):
                (card,) = await until_some(watch)
            assert (card.name, card.namespace) == ("w-1", "default-agg-0a1b2c3d")
            router.feed.follow((card,))
            await router.is_up_to_date()
            process.send_signal(signal.SIGKILL)
            async with asyncio.timeout(2):
                router.feed.follow(await until(watch, lambda cards: cards == ()))
            assert router.sink.dropped == [card.worker_id]
    finally:
        end(process)


async def test_terminated_worker_leaves_then_exits_0(tmp_path: Path) -> None:
    process = a_process(tmp_path)
    try:
        async with aclosing(FileDiscovery(tmp_path).watch()) as watch:
            async with asyncio.timeout(20):
                (card,) = await until_some(watch)
            process.send_signal(signal.SIGTERM)
            await until(watch, lambda cards: cards == ())
        assert await asyncio.to_thread(process.wait, 10) == 0
    finally:
        end(process)
    assert not card_path(tmp_path, card).exists()


async def until_some(watch: AsyncIterator[tuple[WorkerCard, ...]]) -> tuple[WorkerCard, ...]:
    async for cards in watch:
        if cards:
            return cards
    raise AssertionError("the watch ended")
