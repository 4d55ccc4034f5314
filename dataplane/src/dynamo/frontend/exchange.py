"""One client's request and the answer to it, as seen by the code that serves it.

Made by `listener` when a request is complete; every route answers through it, the hot path and FastAPI alike. It knows
HTTP and no OpenAI beyond the form of an error.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol
from urllib.parse import unquote

from dynamo.wire.errors import RequestError, error_body
from dynamo.wire.http1 import LAST_CHUNK, Headers, answer_head, chunk

JSON = b"application/json"
MAX_REQUEST_ID_BYTES = 256


class ClientPort(Protocol):
    """What an exchange needs of its connection."""

    @property
    def writer(self) -> Callable[[bytes], None]:
        """Writes to the client's transport, without a look at anything."""
        ...

    @property
    def date(self) -> bytes: ...

    def write(self, data: bytes) -> None: ...

    def close_exchange(self, exchange: Exchange) -> None:
        """The answer is complete: the next request may be served."""
        ...

    def cut(self) -> None:
        """Drops the connection at once."""
        ...


class Exchange:
    """A request, its body included, and the state of its answer."""

    __slots__ = (
        "_client",
        "_is_chunked",
        "body",
        "fields",
        "has_started",
        "headers",
        "is_http10",
        "is_over",
        "keeps_alive",
        "method",
        "on_end",
        "on_hangup",
        "on_pause",
        "on_resume",
        "peer",
        "received_s",
        "request_id",
        "scheme",
        "target",
    )

    def __init__(
        self,
        client: ClientPort,
        *,
        method: bytes,
        target: bytes,
        headers: Headers,
        body: bytes,
        request_id: str,
        received_s: float,
        keeps_alive: bool,
        is_http10: bool,
        peer: tuple[str, int] | None,
        scheme: str,
    ) -> None:
        self._client = client
        self._is_chunked = False
        self.method = method
        self.target = target
        self.headers = headers
        self.fields = dict(headers)
        self.body = body
        self.request_id = request_id
        self.received_s = received_s
        self.keeps_alive = keeps_alive
        self.is_http10 = is_http10
        self.peer = peer
        self.scheme = scheme
        self.has_started = False
        self.is_over = False
        self.on_hangup: Callable[[Exchange], None] | None = None
        """Called when the client has left."""
        self.on_end: Callable[[Exchange], None] | None = None
        """Called when the answer is complete or cut from our side."""
        self.on_pause: Callable[[], None] | None = None
        """Called when the client falls behind with reading …"""
        self.on_resume: Callable[[], None] | None = None
        """… and when it has caught up."""

    @property
    def path(self) -> str:
        return unquote(self.target.partition(b"?")[0].decode("latin-1"))

    def header(self, name: bytes) -> str | None:
        """By lower-case name; the last one when repeated."""
        value = self.fields.get(name)
        return None if value is None else value.decode("latin-1")

    def answer(
        self, status: int, body: bytes, content_type: bytes = JSON, headers: Iterable[tuple[bytes, bytes]] = ()
    ) -> None:
        """A whole answer in one write."""
        if self.is_over or self.has_started:
            return
        self.has_started = True
        head = self._head(status, content_type, [*headers, (b"content-length", b"%d" % len(body))])
        self._client.write(head if self.method == b"HEAD" else head + body)
        self._finish()

    def refuse(self, error: RequestError, *, status: int | None = None) -> None:
        """The error's status and body, or, within a stream, nothing: who streams ends the stream itself."""
        headers = [] if error.retry_after_s is None else [(b"retry-after", b"%d" % error.retry_after_s)]
        code = status or error.status
        self.answer(code, error_body(error, status=code), headers=headers)

    def open_stream(self, status: int, content_type: bytes, headers: Iterable[tuple[bytes, bytes]] = ()) -> None:
        """Sends the head of an answer of unknown length. HTTP/1.0 clients get it up to the end of the connection."""
        self.has_started = True
        self._is_chunked = not self.is_http10
        self.keeps_alive = self.keeps_alive and self._is_chunked
        framing = [(b"transfer-encoding", b"chunked")] if self._is_chunked else []
        self._client.write(self._head(status, content_type, [*headers, *framing]))

    def write(self, payload: bytes) -> None:
        """A non-empty piece of an open stream."""
        self._client.write(chunk(payload) if self._is_chunked else payload)

    @property
    def chunk_writer(self) -> Callable[[bytes], None] | None:
        """Takes pieces of an open stream already framed as chunks; None when the answer is not chunked."""
        return self._client.writer if self._is_chunked else None

    def end_stream(self) -> None:
        if self.is_over:
            return
        if self._is_chunked:
            self._client.write(LAST_CHUNK)
        self._finish()

    def cut(self) -> None:
        """Breaks the connection off: the client must see that the answer is not whole."""
        self._end()
        self._client.cut()

    def _head(self, status: int, content_type: bytes, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
        connection = [] if self.keeps_alive and not self.is_http10 else [(b"connection", self._persistence)]
        request_id = (b"x-request-id", self.request_id.encode("latin-1", "replace"))
        date = (b"date", self._client.date)
        return answer_head(status, [date, request_id, (b"content-type", content_type), *headers, *connection])

    @property
    def _persistence(self) -> bytes:
        return b"keep-alive" if self.keeps_alive else b"close"

    def _finish(self) -> None:
        self._end()
        self._client.close_exchange(self)

    def _end(self) -> None:
        self.is_over = True
        self.on_hangup = self.on_pause = self.on_resume = None
        on_end, self.on_end = self.on_end, None
        if on_end is not None:
            on_end(self)
