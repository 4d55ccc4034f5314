"""HTTP/1.1 over asyncio transports: requests in, answers out, a stream's pieces written as they come.

It knows nothing of models. The engine's server creates one `Connection` per socket; a handler gets a `Request` and a
`Responder` and may answer at once or later. Every write goes straight to the transport: a token per write, as real
engines do.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import cast

import httptools

from dynamo.wire.errors import BodyTooLarge, InvalidRequest, RequestError, error_body

MAX_BODY_BYTES = 64 << 20
MAX_HEADER_BYTES = 64 << 10
MAX_PIPELINED = 16
_SPLIT_BYTES = 7
_STATUS_LINES = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n" for status in HTTPStatus}
_STATUS_LINES |= {499: "HTTP/1.1 499 Client Closed Request\r\n", 529: "HTTP/1.1 529 Overloaded\r\n"}
JSON = "application/json"
EVENT_STREAM = "text/event-stream; charset=utf-8"
_LAST_CHUNK = b"0\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Request:
    """One request, its body whole; header names are lower-case."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes


Handler = Callable[[Request, "Responder"], None]


class Responder:
    """The answer to one request. Writing after the client hung up does nothing."""

    def __init__(self, connection: Connection, keep_alive: bool, *, is_head: bool = False) -> None:
        """With `is_head` a whole answer leaves without its body."""
        self.on_hangup: Callable[[], None] | None = None
        self._connection: Connection | None = connection
        self._keep_alive = keep_alive
        self._is_head = is_head
        self._pieces: deque[bytes | None] | None = None

    @property
    def is_open(self) -> bool:
        """False once the answer is complete or the client is gone."""
        return self._connection is not None

    def send(
        self, status: int, body: bytes, content_type: str = JSON, headers: Mapping[str, str] | None = None
    ) -> None:
        """A whole answer."""
        if self._connection is None:
            return
        head = self._head(status, content_type, headers, f"content-length: {len(body)}\r\n")
        self._connection.write(head if self._is_head else head + body)
        self._finish()

    def send_error(self, error: RequestError) -> None:
        headers = {"retry-after": str(error.retry_after_s)} if error.retry_after_s is not None else None
        self.send(error.status, error_body(error), headers=headers)

    def open_stream(self, headers: Mapping[str, str] | None = None, *, splits: bool = False) -> None:
        """Starts a 200 answer of server-sent events; with `splits`, bytes leave in small pieces (a scripted fault)."""
        if self._connection is None:
            return
        extra = {"cache-control": "no-cache", **(headers or {})}
        self._connection.write(self._head(200, EVENT_STREAM, extra, "transfer-encoding: chunked\r\n"))
        self._pieces = deque() if splits else None

    def write(self, piece: bytes) -> None:
        if self._connection is None:
            return
        if self._pieces is None:
            self._connection.write(b"%x\r\n%b\r\n" % (len(piece), piece))
        else:
            self._queue_split(piece)

    def close_stream(self, last_piece: bytes = b"") -> None:
        if self._connection is None:
            return
        if self._pieces is not None:
            self._queue_split(last_piece, is_last=True)
            return
        chunk = b"%x\r\n%b\r\n" % (len(last_piece), last_piece) if last_piece else b""
        self._connection.write(chunk + _LAST_CHUNK)
        self._finish()

    def cut(self) -> None:
        """Closes the connection in the middle of the answer."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def hang_up(self) -> None:
        """The client is gone; tells whoever generates. Called by the connection."""
        self._connection = None
        if self.on_hangup is not None:
            self.on_hangup()

    def _head(self, status: int, content_type: str, headers: Mapping[str, str] | None, length: str) -> bytes:
        lines = "".join(f"{name}: {value}\r\n" for name, value in (headers or {}).items())
        closing = "" if self._keep_alive else "connection: close\r\n"
        status_line = _STATUS_LINES.get(status, f"HTTP/1.1 {status} \r\n")
        return f"{status_line}content-type: {content_type}\r\n{length}{lines}{closing}\r\n".encode("latin-1")

    def _queue_split(self, piece: bytes, *, is_last: bool = False) -> None:
        assert self._pieces is not None
        was_empty = not self._pieces
        self._pieces.extend(piece[at : at + _SPLIT_BYTES] for at in range(0, len(piece), _SPLIT_BYTES))
        if is_last:
            self._pieces.append(None)
        if was_empty and self._pieces:
            asyncio.get_running_loop().call_soon(self._write_one_split)

    def _write_one_split(self) -> None:
        """One piece per turn of the loop, so that each is a packet of its own."""
        if self._connection is None or not self._pieces:
            return
        piece = self._pieces.popleft()
        if piece is None:
            self._connection.write(_LAST_CHUNK)
            self._finish()
            return
        self._connection.write(b"%x\r\n%b\r\n" % (len(piece), piece))
        if self._pieces:
            asyncio.get_running_loop().call_soon(self._write_one_split)

    def _finish(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.finished(self._keep_alive)


class Connection(asyncio.Protocol):
    """Parses one socket's requests and answers them in order."""

    def __init__(self, handler: Handler, open_connections: set[Connection]) -> None:
        self._handler = handler
        self._open_connections = open_connections
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._active: Responder | None = None
        self._queued: deque[tuple[Request, bool]] = deque()
        self._url = b""
        self._headers: dict[str, str] = {}
        self._body: list[bytes] = []
        self._body_bytes = 0
        self._header_bytes = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._open_connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        self._transport = None
        self._queued.clear()
        self._open_connections.discard(self)
        active, self._active = self._active, None
        if active is not None:
            active.hang_up()

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            return  # Nothing is upgraded here: the request is answered as it is, and the connection ends with it.
        except RequestError as error:
            self._refuse(error)
        except httptools.HttpParserError as error:
            cause = error.__context__
            message = f"not an HTTP/1.1 request: {error}"
            self._refuse(cause if isinstance(cause, RequestError) else InvalidRequest(message))

    def write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)

    def close(self) -> None:
        """After what was written has left; a request in progress hears of it as a hang-up."""
        if self._transport is not None:
            self._transport.close()

    def finished(self, keep_alive: bool) -> None:
        """The active answer is complete: go on with the next request of this connection."""
        self._active = None
        if not keep_alive:
            self.close()
        elif self._queued and self._transport is not None:
            self._transport.resume_reading()
            asyncio.get_running_loop().call_soon(self._start_next)

    def on_message_begin(self) -> None:
        self._url, self._headers, self._body = b"", {}, []
        self._body_bytes = self._header_bytes = 0

    def on_url(self, url: bytes) -> None:
        self._url += url
        self._count_header(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count_header(len(name) + len(value))
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        if self._headers.get("expect", "").lower() == "100-continue":
            self.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        self._body_bytes += len(body)
        if self._body_bytes > MAX_BODY_BYTES:
            raise BodyTooLarge(f"request body: more than the {MAX_BODY_BYTES} bytes allowed")
        self._body.append(body)

    def on_message_complete(self) -> None:
        path, _, query = self._url.decode("latin-1").partition("?")
        method = self._parser.get_method().decode("latin-1")
        request = Request(method, path, query, self._headers, b"".join(self._body))
        self._body = []
        self._queued.append((request, self._parser.should_keep_alive() and not self._parser.should_upgrade()))
        if self._active is None:
            self._start_next()
        elif len(self._queued) >= MAX_PIPELINED and self._transport is not None:
            self._transport.pause_reading()

    def _start_next(self) -> None:
        if self._active is not None or not self._queued or self._transport is None:
            return
        request, keep_alive = self._queued.popleft()
        responder = self._active = Responder(self, keep_alive, is_head=request.method == "HEAD")
        self._handler(request, responder)

    def _count_header(self, count: int) -> None:
        self._header_bytes += count
        if self._header_bytes > MAX_HEADER_BYTES:
            raise InvalidRequest(f"request headers: more than the {MAX_HEADER_BYTES} bytes allowed")

    def _refuse(self, error: RequestError) -> None:
        """Answers a broken request and closes, unless an answer is on its way already."""
        if self._active is None:
            self._active = Responder(self, keep_alive=False)
            self._active.send_error(error)
        else:
            self.close()
