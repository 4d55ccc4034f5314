"""An engine without a model: real ZMQ publishers, everything else a variable that tests set."""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections.abc import Mapping
from pathlib import Path

import msgspec
import zmq

from dynamo.worker.ports import EngineFacts, EngineFailed, EngineLoad, LoraRefused, UnknownLora

BLOCK_SIZE = 4


class FakeEngine:
    def __init__(self, *, ranks: int = 1, tokenizer_dir: Path | None = None, kept: int | None = None) -> None:
        """`kept`: how many past messages its replay socket repeats; None: it has no such socket."""
        self.ranks = ranks
        self.kept = kept
        self._subscribed: set[int] = set()
        self._past: list[tuple[int, bytes]] = []
        self._replay: zmq.Socket[bytes] | None = None
        self.tokenizer_dir = tokenizer_dir
        self.in_flight = 0
        self.is_accepting = True
        self.is_stopped = False
        self.start_gate: asyncio.Event | None = None
        self.start_error: str | None = None
        self.adapters: dict[str, str] = {}
        self.load = EngineLoad()
        self.text = b""
        self.steps: list[str] = []
        self._death: asyncio.Future[str] | None = None
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._sockets: list[zmq.Socket[bytes]] = []
        self._sequences = [0] * ranks

    async def start(self) -> EngineFacts:
        if self.start_gate is not None:
            await self.start_gate.wait()
        if self.start_error is not None:
            raise EngineFailed(self.start_error)
        self._death = asyncio.get_running_loop().create_future()
        endpoints = []
        for _ in range(self.ranks):
            socket = self._context.socket(zmq.XPUB)
            socket.setsockopt(zmq.LINGER, 0)
            socket.setsockopt(zmq.SNDHWM, 100_000)
            port = socket.bind_to_random_port("tcp://127.0.0.1")
            self._sockets.append(socket)
            endpoints.append(f"tcp://127.0.0.1:{port}")
        replay_endpoints: tuple[str, ...] = ()
        if self.kept is not None:
            self._replay = self._context.socket(zmq.ROUTER)
            self._replay.setsockopt(zmq.LINGER, 0)
            replay_endpoints = (f"tcp://127.0.0.1:{self._replay.bind_to_random_port('tcp://127.0.0.1')}",)
        return EngineFacts(
            kv_replay_endpoints=replay_endpoints,
            address="http://127.0.0.1:1",
            block_size=BLOCK_SIZE,
            kv_event_endpoints=tuple(endpoints),
            total_kv_blocks=100,
            data_parallel_size=self.ranks,
            tokenizer_dir=self.tokenizer_dir,
        )

    async def wait_dead(self) -> str:
        assert self._death is not None
        return await asyncio.shield(self._death)

    def die(self, reason: str) -> None:
        assert self._death is not None
        self._death.set_result(reason)

    async def stop_accepting(self) -> None:
        self.steps.append("stop_accepting")
        self.is_accepting = False

    async def stop(self) -> None:
        self.steps.append("stop")
        self.is_stopped = True
        for socket in (*self._sockets, *([self._replay] if self._replay is not None else [])):
            socket.close()
        self._context.term()

    async def metrics_text(self) -> bytes:
        return self.text

    def read_load(self) -> tuple[EngineLoad, ...]:
        return (self.load,)

    @property
    def progress(self) -> tuple[int, ...]:
        return (0,) * self.ranks

    async def load_lora(self, name: str, uri: str) -> None:
        if not uri.startswith("file://"):
            raise LoraRefused(f"source.uri: found {uri!r}, expected file://…")
        self.adapters[name] = uri

    async def unload_lora(self, name: str) -> None:
        if name not in self.adapters:
            raise UnknownLora(f"no adapter {name!r} is loaded")
        del self.adapters[name]

    @property
    def loras(self) -> Mapping[str, int]:
        return {name: index for index, name in enumerate(self.adapters, start=1)}

    def is_subscribed(self) -> bool:
        """Every rank has its subscriber: what is emitted from now on arrives."""
        for index, socket in enumerate(self._sockets):
            with contextlib.suppress(zmq.Again):
                socket.recv(zmq.NOBLOCK)
                self._subscribed.add(index)
        return len(self._subscribed) == self.ranks

    def lose(self, *events: object) -> None:
        """A batch of rank 0 that only the replay socket can still tell."""
        self._past.append((self._sequences[0], msgspec.msgpack.encode([0.0, list(events), 0])))
        self._sequences[0] += 1

    def answer_replay(self) -> bool:
        """Answers one request, as vLLM does since 0.28; False: there is none yet."""
        assert self._replay is not None
        assert self.kept is not None
        try:
            peer, _, start = self._replay.recv_multipart(zmq.NOBLOCK)
        except zmq.Again:
            return False
        for sequence, payload in self._past[len(self._past) - self.kept :]:
            if sequence >= int.from_bytes(start, "big"):
                self._replay.send_multipart([peer, b"", b"kv", struct.pack(">Q", sequence), payload])
        self._replay.send_multipart([peer, b"", b"", struct.pack(">q", -1), b""])
        return True

    def emit(self, *events: object, rank: int = 0, skip: int = 0) -> None:
        """Publishes a batch; `skip` messages before it are lost."""
        self._sequences[rank] += skip
        self.emit_raw(msgspec.msgpack.encode([0.0, list(events), rank]), rank=rank)

    def emit_raw(self, payload: bytes, *, rank: int = 0) -> None:
        self._past.append((self._sequences[rank], payload))
        self._sockets[rank].send_multipart([b"kv", struct.pack(">Q", self._sequences[rank]), payload])
        self._sequences[rank] += 1


def stored(first_handle: int, tokens: list[int], parent: int | None = None) -> dict[str, object]:
    """An event for `len(tokens) / BLOCK_SIZE` blocks with consecutive handles."""
    return {
        "type": "BlockStored",
        "block_hashes": list(range(first_handle, first_handle + len(tokens) // BLOCK_SIZE)),
        "parent_block_hash": parent,
        "token_ids": tokens,
        "block_size": BLOCK_SIZE,
        "lora_id": None,
        "medium": "GPU",
    }


def removed(*handles: int) -> dict[str, object]:
    return {"type": "BlockRemoved", "block_hashes": list(handles), "medium": "GPU"}


CLEARED = {"type": "AllBlocksCleared"}
