"""The worker side of the proxy: pooled keep-alive HTTP/1.1 connections over raw transports.

An answer's bytes go straight from `data_received` into a `Receiver`, without a task in between: that is the path of
every token. This module knows HTTP framing and nothing of OpenAI. Called by `relay` and `pipeline` through `Pool`.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, cast
from urllib.parse import urlsplit

from dynamo.wire.http1 import (
    MAX_HEAD_BYTES,
    AnswerHead,
    ChunkedBody,
    HttpFormatError,
    parse_answer_head,
    single_chunk,
)

SWEEP_S = 0.5
"""How often deadlines are looked at: they are checked for all connections at once, not timed one by one."""
HIGH_WATER_BYTES = 256 * 1024
_KEEPALIVE = {"TCP_KEEPIDLE": 5, "TCP_KEEPINTVL": 2, "TCP_KEEPCNT": 3, "TCP_USER_TIMEOUT": 12_000}
"""The kernel gives a connection up after 11 to 12 s without a sign of the other side: a node died, a cable was cut."""


class WorkerUnreachable(Exception):
    """No connection, or it was lost before the first byte of an answer: another worker may be asked."""


class WorkerFrozen(WorkerUnreachable):
    """It took the request and stands still: trying it again is of no use."""


class WorkerRefused(WorkerUnreachable):
    """It answered that it serves nobody now, as one does that is about to leave: another worker may be asked."""


class AnswerCut(Exception):
    """The worker's answer ended before its end, stalled, or was no HTTP."""


@dataclass(frozen=True, slots=True)
class Deadlines:
    """Seconds a worker may take; 0 means no limit."""

    connect_s: float = 5.0
    first_byte_s: float = 0.0
    """From sending the request to the first byte; long prompts queue in the engine, so off by default."""
    between_bytes_s: float = 0.0
    """Silence allowed within an answer."""


class Receiver(Protocol):
    """Takes one answer. Its calls come from the event loop's read callback: they must not block or raise."""

    def head(self, head: AnswerHead) -> None: ...

    def payload(self, payload: bytes, raw: bytes | None) -> None:
        """A piece of the body; `raw` is the same piece still framed as one whole chunk, if it came as that."""
        ...

    def end(self) -> None: ...

    def failed(self, error: WorkerUnreachable | AnswerCut) -> None:
        """No more calls follow."""
        ...


class WorkerConnection(asyncio.Protocol):
    """One connection; carries one request at a time."""

    __slots__ = (
        "_chunks",
        "_clock",
        "_head",
        "_head_bytes",
        "_is_between_chunks",
        "_left",
        "_pool",
        "_receiver",
        "_transport",
        "address",
        "has_answered",
        "idle_since_s",
        "waits_since_s",
        "was_used",
    )

    def __init__(self, pool: Pool, address: str) -> None:
        self._pool = pool
        self._clock = pool.clock
        self.address = address
        self._transport: asyncio.Transport | None = None
        self._receiver: Receiver | None = None
        self._head: AnswerHead | None = None
        self._head_bytes = b""
        self._chunks: ChunkedBody | None = None
        self._is_between_chunks = False
        """A whole chunk may be passed on as it is, without the decoder."""
        self._left: int | None = 0
        """Body bytes still to come; None: up to the end of the connection."""
        self.was_used = False
        """An earlier exchange went over this connection: the worker may have closed it meanwhile."""
        self.idle_since_s = 0.0
        self.waits_since_s = 0.0
        """When the request was sent or the last bytes came; 0 while idle or while we ourselves stopped reading.

        A receiver may take it for the time of the bytes that it is being given.
        """
        self.has_answered = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no subclass of asyncio's.
        self._transport = cast(asyncio.Transport, transport)

    def set_option(self, level: int, option: int, value: int) -> None:
        """Of the connection's socket."""
        if self._transport is not None:
            self._transport.get_extra_info("socket").setsockopt(level, option, value)

    def send(self, request: bytes, receiver: Receiver) -> None:
        """Starts an exchange. The connection must be idle."""
        assert self._transport is not None
        assert self._receiver is None
        self._receiver = receiver
        self._head, self._head_bytes, self._chunks, self._left = None, b"", None, 0
        self._is_between_chunks = False
        self.has_answered = False
        self.waits_since_s = self._pool.clock()
        self._transport.write(request)

    @property
    def is_busy(self) -> bool:
        return self._receiver is not None

    @property
    def heard_s(self) -> float:
        """When the last bytes came, as far as this exchange or the one before it tells; else 0."""
        if not self.is_busy:
            return self.idle_since_s
        return self.waits_since_s if self.has_answered else 0.0

    @property
    def is_open(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    def pause(self) -> None:
        if self._transport is not None and self._receiver is not None:
            self._transport.pause_reading()
            self.waits_since_s = 0.0

    def resume(self) -> None:
        if self._transport is not None and self._receiver is not None and not self._transport.is_closing():
            self._transport.resume_reading()
            self.waits_since_s = self._pool.clock()

    def abort(self) -> None:
        """Cuts the connection at once; the engine sees the hang-up and stops. The receiver hears nothing more."""
        self._receiver = None
        if self._transport is not None:
            self._transport.abort()

    def fail(self, error: WorkerUnreachable | AnswerCut) -> None:
        receiver, self._receiver = self._receiver, None
        if self._transport is not None:
            self._transport.abort()
        if receiver is not None:
            receiver.failed(error)

    def data_received(self, data: bytes) -> None:
        receiver = self._receiver
        if receiver is None:
            self.abort()
            return
        self.waits_since_s = self._clock()
        if self._is_between_chunks and (start := single_chunk(data)) > 0:
            receiver.payload(data[start:-2], data)
            return
        try:
            self._read(data, receiver)
        except HttpFormatError as error:
            self.fail(AnswerCut(str(error)))

    def connection_lost(self, exc: Exception | None) -> None:
        self._pool.forget(self)
        self._transport = None
        receiver, self._receiver = self._receiver, None
        if receiver is None:
            return
        if not self.has_answered:
            receiver.failed(WorkerUnreachable(f"the connection was lost before an answer ({exc or 'closed'})"))
        elif self._head is not None and not self._head.is_chunked and self._head.content_length is None:
            receiver.end()
        else:
            receiver.failed(AnswerCut(f"the connection was lost within the answer ({exc or 'closed'})"))

    def _read(self, data: bytes, receiver: Receiver) -> None:
        self.has_answered = True
        if self._head is None:
            data = self._read_head(data, receiver)
            if not self._is_reading_body:
                return
        if self._chunks is not None:
            payload = self._chunks.feed(data)
            self._is_between_chunks = self._chunks.is_between_chunks
            if payload:
                receiver.payload(payload, None)
            if self._chunks.is_done:
                self._finish(self._chunks.rest)
        elif self._left is None:
            if data:
                receiver.payload(data, None)
        else:
            payload, rest = data[: self._left], data[self._left :]
            self._left -= len(payload)
            if payload:
                receiver.payload(payload, None)
            if not self._left:
                self._finish(rest)

    @property
    def _is_reading_body(self) -> bool:
        """False while the head is incomplete, and when its receiver gave up on seeing it."""
        return self._head is not None and self._receiver is not None

    def _read_head(self, data: bytes, receiver: Receiver) -> bytes:
        """Returns what follows the head, empty while the head is incomplete."""
        block, end, rest = (self._head_bytes + data).partition(b"\r\n\r\n")
        if not end:
            if len(block) > MAX_HEAD_BYTES:
                raise HttpFormatError(f"the answer's head is longer than {MAX_HEAD_BYTES} bytes")
            self._head_bytes = block
            return b""
        head = parse_answer_head(block)
        if head.status < 200:
            self._head_bytes = b""
            return self._read_head(rest, receiver) if rest else b""
        self._head = head
        self._chunks = ChunkedBody() if head.is_chunked else None
        self._is_between_chunks = head.is_chunked
        self._left = head.content_length
        receiver.head(head)
        return rest

    def _finish(self, rest: bytes) -> None:
        receiver, self._receiver = self._receiver, None
        assert self._head is not None
        self.waits_since_s = 0.0
        if receiver is None:
            return
        if rest or not self._head.keeps_alive or self._transport is None:
            self.abort()
        else:
            self.was_used = True
            self._transport.resume_reading()
            self._pool.take_back(self)
        receiver.end()


class Pool:
    """Connections to all workers. Owns them; `run` sweeps deadlines and must be running."""

    def __init__(
        self, *, clock: Callable[[], float], deadlines: Deadlines, idle_s: float = 4.0, idle_per_worker: int = 512
    ) -> None:
        """`idle_s` stays under the 5 s after which engines behind uvicorn drop an idle connection."""
        self.clock = clock
        self._deadlines = deadlines
        self._idle_s = idle_s
        self._idle_per_worker = idle_per_worker
        self._idle: dict[str, list[WorkerConnection]] = {}
        self._all: set[WorkerConnection] = set()

    async def connection(self, address: str, *, fresh: bool = False) -> WorkerConnection:
        """An idle connection to the worker, or a new one. Raises WorkerUnreachable."""
        idle = self._idle.get(address)
        while idle and not fresh:
            connection = idle.pop()
            if connection.is_open:
                return connection
        url = urlsplit(address)
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._deadlines.connect_s or None):
                _, made = await loop.create_connection(
                    lambda: WorkerConnection(self, address), url.hostname or "", url.port or 80
                )
        except (OSError, TimeoutError) as error:
            raise WorkerUnreachable(f"{address}: no connection ({error or 'timed out'})") from error
        _notice_death(made)
        self._all.add(made)
        return made

    def take_back(self, connection: WorkerConnection) -> None:
        idle = self._idle.setdefault(connection.address, [])
        if len(idle) >= self._idle_per_worker:
            connection.abort()
        else:
            connection.idle_since_s = self.clock()
            idle.append(connection)

    def forget(self, connection: WorkerConnection) -> None:
        self._all.discard(connection)
        idle = self._idle.get(connection.address)
        if idle and connection in idle:
            idle.remove(connection)

    def awaits(self, address: str) -> bool:
        """Whether the worker owes an answer."""
        return any(one.is_busy for one in self._all if one.address == address)

    def has_heard(self, address: str, since_s: float) -> bool:
        """Whether bytes came from the worker since then: a sign of life, whatever probes say."""
        return any(one.heard_s > since_s for one in self._all if one.address == address)

    def give_up(self, address: str) -> None:
        """Waits no longer for the worker's answers: those not begun may be had elsewhere."""
        for connection in [one for one in self._all if one.address == address]:
            cut = AnswerCut("the worker stands still")
            connection.fail(cut if connection.has_answered else WorkerFrozen(str(cut)))

    def close(self) -> None:
        for connection in tuple(self._all):
            connection.abort()

    async def run(self) -> None:
        """Sweeps until cancelled, then closes everything."""
        try:
            while True:
                await asyncio.sleep(SWEEP_S)
                self.sweep()
        finally:
            self.close()

    def sweep(self) -> None:
        now_s = self.clock()
        for address, idle in tuple(self._idle.items()):
            for connection in [one for one in idle if now_s - one.idle_since_s > self._idle_s]:
                idle.remove(connection)
                connection.abort()
            if not idle:
                del self._idle[address]
        for connection in tuple(self._all):
            limit_s = self._deadlines.between_bytes_s if connection.has_answered else self._deadlines.first_byte_s
            if limit_s and connection.waits_since_s and now_s - connection.waits_since_s > limit_s:
                connection.fail(AnswerCut(f"the worker was silent for {limit_s:g} s"))


def _notice_death(connection: WorkerConnection) -> None:
    """Options that this system does not know are left out."""
    connection.set_option(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _KEEPALIVE.items():
        if (option := getattr(socket, name, None)) is not None:
            connection.set_option(socket.IPPROTO_TCP, option, value)
