"""Publishes one rank's cache events as vLLM does: ZMQ PUB, frames [topic, sequence, msgpack [time, events, rank]].

Each event is a map tagged `type`. An optional ROUTER socket repeats past messages to whoever missed some. The engine
owns one publisher per rank; sending never blocks.
"""

from __future__ import annotations

import asyncio
import struct
import time
from collections import deque
from collections.abc import Sequence
from typing import Any

import msgspec
import zmq

from dynamo.mocker.work import BlocksRemoved, BlocksStored, CacheEvent

TOPIC = b"kv-events"
REPLAY_BUFFER_MESSAGES = 10_000
REPLAY_BUFFER_BYTES = 64 << 20
"""A message of a long prefill is some 40 kB: as many as vLLM keeps would be 400 MB a rank."""
SEND_QUEUE_MESSAGES = 100_000
_END_OF_REPLAY = struct.pack(">q", -1)
_encode = msgspec.msgpack.encode


class KvEventPublisher:
    """One rank's PUB socket, and its ROUTER socket when a replay port is given."""

    def __init__(self, context: zmq.Context[Any], rank: int, block_size: int, bind: str, replay: str | None) -> None:
        """`bind` and `replay` are `tcp://host:port`, port 0 or `*` for a free one. Raises zmq.ZMQError."""
        self._rank = rank
        self._block_size = block_size
        self._sequence = 0
        self._lora_ids: dict[str, int] = {}
        self._past: deque[tuple[int, bytes]] = deque()
        self._past_bytes = 0
        self._pub = context.socket(zmq.PUB)
        self._pub.setsockopt(zmq.SNDHWM, SEND_QUEUE_MESSAGES)
        self._pub.setsockopt(zmq.LINGER, 0)
        self._pub.bind(bind)
        self.port = _bound_port(self._pub)
        self._router: zmq.Socket[Any] | None = None
        self.replay_port: int | None = None
        if replay is not None:
            self._router = context.socket(zmq.ROUTER)
            self._router.setsockopt(zmq.LINGER, 0)
            self._router.bind(replay)
            self.replay_port = _bound_port(self._router)

    def listen(self, loop: asyncio.AbstractEventLoop) -> None:
        """Answers replay requests from now on."""
        if self._router is not None:
            loop.add_reader(self._router.fileno(), self._answer_replays)
            loop.call_soon(self._answer_replays)

    def publish(self, events: Sequence[CacheEvent]) -> None:
        payload = _encode([time.time(), [self._as_map(event) for event in events], self._rank])
        self._remember(payload)
        self._pub.send_multipart([TOPIC, struct.pack(">Q", self._sequence), payload], zmq.NOBLOCK)
        self._sequence += 1

    def close(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._router is not None:
            loop.remove_reader(self._router.fileno())
            self._router.close(0)
        self._pub.close(0)

    def _remember(self, payload: bytes) -> None:
        self._past.append((self._sequence, payload))
        self._past_bytes += len(payload)
        while len(self._past) > REPLAY_BUFFER_MESSAGES or self._past_bytes > REPLAY_BUFFER_BYTES:
            self._past_bytes -= len(self._past.popleft()[1])

    def _as_map(self, event: CacheEvent) -> dict[str, Any]:
        if isinstance(event, BlocksStored):
            return self._stored(event)
        if isinstance(event, BlocksRemoved):
            return {"type": "BlockRemoved", "block_hashes": event.keys, "medium": "GPU", "group_idx": 0}
        return {"type": "AllBlocksCleared"}

    def _stored(self, event: BlocksStored) -> dict[str, Any]:
        extra: list[str] = [text for text in (event.lora, event.salt if event.parent is None else None) if text]
        later: list[str] = [event.lora] if event.lora else []
        count = len(event.keys)
        return {
            "type": "BlockStored",
            "block_hashes": event.keys,
            "parent_block_hash": event.parent,
            "token_ids": event.tokens,
            "block_size": self._block_size,
            "lora_id": self._lora_id(event.lora),
            "medium": "GPU",
            "lora_name": event.lora,
            "extra_keys": [extra or None, *[later or None] * (count - 1)],
            "group_idx": 0,
            "kv_cache_spec_kind": "full_attention",
        }

    def _lora_id(self, name: str | None) -> int | None:
        return None if name is None else self._lora_ids.setdefault(name, len(self._lora_ids) + 1)

    def _answer_replays(self) -> None:
        """ZMQ's descriptor is edge-triggered: read until nothing is left."""
        router = self._router
        while router is not None and not router.closed and int(router.getsockopt(zmq.EVENTS)) & zmq.POLLIN:
            frames = router.recv_multipart(zmq.NOBLOCK)
            if len(frames) < 2 or len(frames[-1]) != 8:
                continue
            (start,) = struct.unpack(">Q", frames[-1])
            for sequence, payload in self._past:
                if sequence >= start:
                    self._reply(router, [frames[0], b"", TOPIC, struct.pack(">Q", sequence), payload])
            self._reply(router, [frames[0], b"", b"", _END_OF_REPLAY, b""])

    @staticmethod
    def _reply(router: zmq.Socket[Any], frames: list[bytes]) -> None:
        try:
            router.send_multipart(frames, zmq.NOBLOCK)
        except zmq.Again:
            return  # The asker does not read; it will ask again.


def _bound_port(socket: zmq.Socket[Any]) -> int:
    return int(socket.getsockopt_string(zmq.LAST_ENDPOINT).rpartition(":")[2])
