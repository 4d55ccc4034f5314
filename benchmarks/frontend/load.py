"""Load for the comparison: raw keep-alive HTTP over uvloop, so that both frontends see the same cheap client."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import cast

TIMEOUT_S = 120.0
_END = b"0\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Shape:
    """What one measured run asks for."""

    streams: int = 64
    tokens: int = 150
    """Per stream."""
    gap_ms: int = 20
    """Between the tokens of a stream, each a write of its own at the worker."""
    unary_requests: int = 1500
    unary_at_once: int = 1


class _Client(asyncio.Protocol):
    """One connection that sends a request and waits for the end of its answer."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport
        self._answer = b""
        self._tail = b""
        self._done: asyncio.Future[int] | None = None
        self._frames = 0
        self._is_stream = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        if self._is_stream:
            self._frames += data.count(b"data: ")
            self._tail = (self._tail + data)[-len(_END) :]
            if self._tail == _END:
                self._finish(self._frames)
            return
        self._answer += data
        head, end, body = self._answer.partition(b"\r\n\r\n")
        if end and len(body) >= int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0]):
            assert head.startswith(b"HTTP/1.1 200"), head
            self._finish(1)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._done is not None and not self._done.done():
            self._done.set_exception(ConnectionError(f"cut after {self._frames} frames: {self._answer[:200]!r} {exc}"))

    async def send(self, request: bytes, *, is_stream: bool) -> int:
        """Frames of the answer; 1 for a unary one."""
        self._answer, self._tail, self._frames, self._is_stream = b"", b"", 0, is_stream
        self._done = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        async with asyncio.timeout(TIMEOUT_S):
            return await self._done

    def close(self) -> None:
        self._transport.close()

    def _finish(self, frames: int) -> None:
        assert self._done is not None
        self._done.set_result(frames)


async def stream_once(port: int, shape: Shape) -> int:
    """All streams at once; returns the number of tokens that came."""
    request = _request(f'"stream":true,"max_tokens":{shape.tokens},"user":"gap={shape.gap_ms}"')
    clients = await asyncio.gather(*(_connect(port) for _ in range(shape.streams)))
    frames = await asyncio.gather(*(client.send(request, is_stream=True) for client in clients))
    for client in clients:
        client.close()
    for count in frames:
        assert count >= shape.tokens, f"a stream had {count} frames, expected {shape.tokens} tokens"
    return shape.streams * shape.tokens


async def unary_once(port: int, shape: Shape) -> int:
    """Short requests over kept connections; returns their number."""
    request = _request('"max_tokens":2')
    each = shape.unary_requests // shape.unary_at_once

    async def client() -> None:
        connection = await _connect(port)
        for _ in range(each):
            await connection.send(request, is_stream=False)
        connection.close()

    await asyncio.gather(*(client() for _ in range(shape.unary_at_once)))
    return each * shape.unary_at_once


async def _connect(port: int) -> _Client:
    _, client = await asyncio.get_running_loop().create_connection(_Client, "127.0.0.1", port)
    return client


def _request(fields: str) -> bytes:
    question = "What is the capital of France, and which river runs through it?"
    body = f'{{"model":"m","messages":[{{"role":"user","content":"{question}"}}],{fields}}}'.encode()
    return (
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\nuser-agent: bench\r\naccept: */*\r\n"
        b"content-type: application/json\r\nauthorization: Bearer none\r\ncontent-length: %d\r\n\r\n%b"
        % (len(body), body)
    )
