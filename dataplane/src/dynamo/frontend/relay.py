"""From a worker's bytes to a client's: the path of every token, and nothing else.

A relay is called from the read callback of the worker's connection and writes to the client's transport at once. It
looks for frame ends and for usage, and moves bytes. What it learns goes into a `Meter`; the pipeline awaits `done`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec

from dynamo.frontend.exchange import Exchange
from dynamo.frontend.meter import Meter
from dynamo.frontend.upstream import AnswerCut, WorkerConnection, WorkerUnreachable
from dynamo.wire.errors import RequestError
from dynamo.wire.http1 import AnswerHead, Headers
from dynamo.wire.openai_usage import USAGE_KEY, tap
from dynamo.wire.sse import FrameTooLong, WholeFrames, error_frames

MAX_UNARY_BYTES = 256 * 1024 * 1024
EVENT_STREAM = b"text/event-stream"
_DONE_MARK = b"[DONE]"


class Answer(msgspec.Struct, frozen=True):
    """A whole answer of a worker."""

    status: int
    content_type: bytes
    body: bytes


class Collector:
    """Receives a whole answer: unary ones, and errors in place of a stream."""

    def __init__(self) -> None:
        self.done: asyncio.Future[Answer | None] = asyncio.get_running_loop().create_future()
        """The answer; None when it went to the client as a stream. Fails with WorkerUnreachable or AnswerCut."""
        self.connection: WorkerConnection | None = None
        self._head: AnswerHead | None = None
        self._body: list[bytes] = []
        self._body_bytes = 0

    def renew(self) -> None:
        """Makes a receiver whose exchange failed before any answer ready for another try."""
        self.done = asyncio.get_running_loop().create_future()

    def head(self, head: AnswerHead) -> None:
        self._head = head

    def payload(self, payload: bytes, raw: bytes | None) -> None:  # noqa: ARG002  # the port's signature
        self._body.append(payload)
        self._body_bytes += len(payload)
        if self._body_bytes > MAX_UNARY_BYTES and self.connection is not None:
            self.connection.fail(AnswerCut(f"the answer is longer than {MAX_UNARY_BYTES} bytes"))

    def end(self) -> None:
        assert self._head is not None
        body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        self._resolve(Answer(self._head.status, self._head.fields.get(b"content-type", b"application/json"), body))

    def failed(self, error: WorkerUnreachable | AnswerCut) -> None:
        if not self.done.done():
            self.done.set_exception(error)

    def _resolve(self, answer: Answer | None) -> None:
        if not self.done.done():
            self.done.set_result(answer)


class StreamRelay(Collector):
    """Passes server-sent events on, frame by whole frame."""

    def __init__(self, exchange: Exchange, meter: Meter, *, headers: Headers, strips_usage: bool) -> None:
        super().__init__()
        self._exchange = exchange
        self._meter = meter
        self._headers = headers
        self._strips_usage = strips_usage
        self._frames = WholeFrames()
        self._is_streaming = False
        self._write_chunk: Callable[[bytes], None] | None = None
        self._last = b""

    def head(self, head: AnswerHead) -> None:
        super().head(head)
        content_type = head.fields.get(b"content-type", b"")
        if head.status == 200 and content_type.startswith(EVENT_STREAM):
            exchange, connection = self._exchange, self.connection
            assert connection is not None
            self._is_streaming = True
            exchange.on_pause, exchange.on_resume = connection.pause, connection.resume
            exchange.open_stream(200, content_type, (*self._headers, (b"cache-control", b"no-cache")))
            self._write_chunk = exchange.chunk_writer

    def payload(self, payload: bytes, raw: bytes | None) -> None:
        if not self._is_streaming:
            super().payload(payload, raw)
            return
        assert self.connection is not None
        if raw is None or payload[-2:] != b"\n\n" or self._frames.holds_back:
            raw = None
            try:
                payload = self._frames.feed(payload)
            except FrameTooLong as error:
                self.connection.fail(AnswerCut(str(error)))
                return
            if not payload:
                return
        self._last = payload
        if USAGE_KEY in payload:
            tapped = tap(payload, strips=self._strips_usage)
            if tapped.usage is not None:
                self._meter.usage = tapped.usage
            self._meter.frames(payload, tapped.token_frames, self.connection.waits_since_s)
            if len(tapped.payload) != len(payload):
                payload, raw = tapped.payload, None
        else:
            # Most pieces are one frame of one line: its first line end is the one before the last byte.
            count = 1 if payload.find(b"\n") == len(payload) - 2 else payload.count(b"\n\n")
            self._meter.frames(payload, count, self.connection.waits_since_s)
        self._pass_on(payload, raw)

    def _pass_on(self, payload: bytes, raw: bytes | None) -> None:
        if raw is not None and self._write_chunk is not None:
            self._write_chunk(raw)
        elif payload:
            self._exchange.write(payload)

    def ending(self, error: RequestError) -> bytes:
        """What follows the last whole frame when the stream cannot go on."""
        return error_frames(error)

    def end(self) -> None:
        if not self._is_streaming:
            super().end()
        elif _DONE_MARK in self._last[-16:]:
            self._exchange.end_stream()
            self._resolve(None)
        else:
            self.failed(AnswerCut("the worker's stream ended without its end mark"))
