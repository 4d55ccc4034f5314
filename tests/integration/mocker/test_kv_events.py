"""KV events as vLLM publishes them: frames, fields, order, ranks, replay."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
import zmq
import zmq.asyncio

from dynamo.mocker import kv_events
from dynamo.mocker.work import Limits
from dynamo.wire.cards import Role
from tests.integration.mocker.running import Running, running


@asynccontextmanager
async def listening(mocker: Running, rank: int = 0) -> AsyncIterator[zmq.asyncio.Socket]:
    """A subscriber that is known to be connected: the publisher is poked until it hears something."""
    context = zmq.asyncio.Context()
    socket = context.socket(zmq.SUB)
    socket.setsockopt(zmq.SUBSCRIBE, b"")
    socket.connect(mocker.facts.kv_event_endpoints[rank])
    try:
        headers = {"X-data-parallel-rank": str(rank)}
        async with asyncio.timeout(10):
            while not await socket.poll(20):
                await mocker.http.post("/reset_prefix_cache")
                await mocker.complete([9] * 16, max_tokens=1, headers=headers)
            while await socket.poll(50):
                await socket.recv_multipart()
        yield socket
    finally:
        socket.close(0)
        context.term()


async def receive(socket: zmq.asyncio.Socket) -> tuple[int, list[Any], int]:
    """(sequence, events, rank) of the next message."""
    async with asyncio.timeout(5):
        topic, sequence, payload = await socket.recv_multipart()
    assert topic == b"kv-events"
    stamp, events, rank = msgspec.msgpack.decode(payload)
    assert isinstance(stamp, float)
    return struct.unpack(">Q", sequence)[0], events, rank


async def test_stored_blocks_carry_vllms_fields_and_chain() -> None:
    async with running() as mocker, listening(mocker) as socket:
        await mocker.complete(list(range(100, 133)), max_tokens=16)
        sequence, (stored,), rank = await receive(socket)
        assert rank == 0
        assert stored["type"] == "BlockStored"
        assert stored["token_ids"] == list(range(100, 132))
        assert len(stored["block_hashes"]) == 2
        assert stored["parent_block_hash"] is None
        assert (stored["block_size"], stored["medium"], stored["group_idx"]) == (16, "GPU", 0)
        assert (stored["lora_id"], stored["lora_name"], stored["extra_keys"]) == (None, None, [None, None])
        next_sequence, (decoded,), _ = await receive(socket)
        assert next_sequence == sequence + 1
        assert decoded["parent_block_hash"] == stored["block_hashes"][-1]
        assert decoded["token_ids"][0] == 132


async def test_adapter_and_salt_are_named() -> None:
    async with running() as mocker, listening(mocker) as socket:
        await mocker.engine.load_lora("lo", "hf://x")
        await mocker.complete([5] * 33, model="lo", cache_salt="s", max_tokens=1)
        _, (stored,), _ = await receive(socket)
        assert (stored["lora_id"], stored["lora_name"]) == (1, "lo")
        assert stored["extra_keys"] == [["lo", "s"], ["lo"]]


async def test_eviction_and_clearing_are_told() -> None:
    async with running(limits=Limits(total_blocks=4, block_size=16)) as mocker, listening(mocker) as socket:
        await mocker.complete([1] * 33, max_tokens=1)
        _, (first,), _ = await receive(socket)
        await mocker.complete([2] * 50, max_tokens=1)
        _, events, _ = await receive(socket)
        removed = [key for event in events if event["type"] == "BlockRemoved" for key in event["block_hashes"]]
        assert set(first["block_hashes"]) <= set(removed)
        await mocker.http.post("/reset_prefix_cache")
        _, (cleared,), _ = await receive(socket)
        assert cleared == {"type": "AllBlocksCleared"}


async def test_each_rank_has_its_own_publisher() -> None:
    async with running(data_parallel_size=2) as mocker:
        assert len(set(mocker.facts.kv_event_endpoints)) == 2
        async with listening(mocker, rank=1) as socket:
            await mocker.complete([3] * 20, headers={"X-data-parallel-rank": "1"})
            _, _, rank = await receive(socket)
            assert rank == 1


async def replayed(mocker: Running, start: int) -> list[tuple[int, bytes]]:
    """(sequence, payload) of everything repeated from `start` on, the end mark last."""
    context = zmq.asyncio.Context()
    dealer = context.socket(zmq.DEALER)
    found: list[tuple[int, bytes]] = []
    try:
        dealer.connect(mocker.facts.kv_replay_endpoints[0])
        await dealer.send_multipart([b"", struct.pack(">Q", start)])
        async with asyncio.timeout(5):
            while not found or found[-1][0] != -1:
                *_, sequence, payload = await dealer.recv_multipart()
                found.append((struct.unpack(">q", sequence)[0], payload))
    finally:
        dealer.close(0)
        context.term()
    return found


async def test_replay_repeats_from_a_sequence_to_the_end() -> None:
    async with running() as mocker:
        for seed in range(5):
            await mocker.complete([100 + seed] * 20, max_tokens=1)
        replies = await replayed(mocker, 2)
    assert [sequence for sequence, _ in replies] == [2, 3, 4, -1]
    assert msgspec.msgpack.decode(replies[0][1])[1][0]["token_ids"] == [102] * 16


async def test_replay_forgets_the_oldest_beyond_its_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kv_events, "REPLAY_BUFFER_BYTES", 1000)
    async with running() as mocker:
        for seed in range(9):
            await mocker.complete([100 + seed] * 20, max_tokens=1)
        replies = await replayed(mocker, 0)
    assert 0 < sum(len(payload) for _, payload in replies) <= 1000
    assert [sequence for sequence, _ in replies][-2:] == [8, -1]


async def test_decode_workers_and_uncached_engines_publish_nothing() -> None:
    async with running(role=Role.DECODE) as decode:
        assert decode.facts.kv_event_endpoints == ()
    async with running(limits=Limits(total_blocks=9, block_size=16, prefix_caching=False)) as uncached:
        assert uncached.facts.kv_event_endpoints == ()
        for _ in range(2):
            usage = (await uncached.complete([1] * 40)).json()["usage"]
            assert usage["prompt_tokens_details"]["cached_tokens"] == 0
