"""The client side: an asyncio protocol that turns bytes of strangers into exchanges, within limits.

llhttp parses (smuggling tricks are its business); this module bounds what one client may cost: header bytes, header
count, body bytes, seconds until head and body are there, pipelined requests, unread answers. It hands every complete
request to one function and knows no routes.
"""

from __future__ import annotations

import asyncio
import contextlib
import email.utils
import itertools
import secrets
import ssl
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import httptools

from dynamo.frontend.exchange import MAX_REQUEST_ID_BYTES, Exchange
from dynamo.wire.errors import BodyTooLarge, InvalidRequest, RequestError, Unavailable, error_body
from dynamo.wire.http1 import answer_head

SWEEP_S = 0.5
HELD_BYTES = 64 * 1024
"""Bytes of pipelined requests kept while an answer is under way; then reading pauses."""
WRITE_HIGH_WATER_BYTES = 256 * 1024
CLOSE_S = 2.0
LINGER_S = 2.0
"""How long a refused client may go on sending before the connection is cut; cutting at once would lose the answer."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one client may cost."""

    body_bytes: int = 192 * 1024 * 1024
    head_bytes: int = 64 * 1024
    """Request line and headers together."""
    header_count: int = 128
    head_s: float = 30.0
    """From a request's first byte to the end of its headers."""
    body_s: float = 60.0
    """Silence allowed within a body."""
    idle_s: float = 75.0
    """Between requests."""
    unread_s: float = 120.0
    """How long a client may leave an answer unread."""
    connections: int = 4096


class HeadersTooLarge(RequestError):
    status = 431
    type = "invalid_request_error"
    metric_type = "validation"


class TooSlow(RequestError):
    status = 408
    type = "invalid_request_error"
    metric_type = "validation"


Serve = Callable[[Exchange], None]
"""Starts serving an exchange and returns at once."""


class Gate:
    """All connections of one listening socket, and what they share. Owns them."""

    def __init__(self, serve: Serve, limits: Limits, *, clock: Callable[[], float], wall: Callable[[], float]) -> None:
        self.serve = serve
        self.limits = limits
        self.clock = clock
        self._wall = wall
        self._connections: set[ClientConnection] = set()
        self._server: asyncio.Server | None = None
        self._has_emptied = asyncio.Event()
        self.date = b""
        self.disconnected_clients = 0
        """Clients that left before their answer was complete."""

    async def open(self, host: str, port: int, *, tls: ssl.SSLContext | None = None, backlog: int = 2048) -> int:
        """Listens; returns the port. Raises OSError when it is taken."""
        self._update_date()
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: ClientConnection(self, "https" if tls else "http"), host, port, ssl=tls, backlog=backlog
        )
        return int(self._server.sockets[0].getsockname()[1])

    async def run(self) -> None:
        """Enforces deadlines until cancelled."""
        while True:
            await asyncio.sleep(SWEEP_S)
            self._update_date()
            now_s = self.clock()
            for connection in tuple(self._connections):
                connection.enforce_deadline(now_s)

    def stop_listening(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None

    async def close(self) -> None:
        """Takes no one new, lets written answers reach their clients within CLOSE_S, then cuts what is left."""
        self.stop_listening()
        for connection in tuple(self._connections):
            connection.close()
        self._has_emptied.clear()
        if self._connections:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_S):
                    await self._has_emptied.wait()
        for connection in tuple(self._connections):
            connection.cut()

    def admit(self, connection: ClientConnection) -> bool:
        if len(self._connections) >= self.limits.connections:
            return False
        self._connections.add(connection)
        return True

    def forget(self, connection: ClientConnection) -> None:
        self._connections.discard(connection)
        if not self._connections:
            self._has_emptied.set()

    def _update_date(self) -> None:
        self.date = email.utils.formatdate(self._wall(), usegmt=True).encode()


class ClientConnection(asyncio.Protocol):
    """One client. Serves its requests one after the other."""

    def __init__(self, gate: Gate, scheme: str) -> None:
        self._gate = gate
        self._scheme = scheme
        self._transport: asyncio.Transport | None = None
        self._peer: tuple[str, int] | None = None
        self._parser: Any = httptools.HttpRequestParser(self)
        self._current: Exchange | None = None
        self._ready: deque[Exchange] = deque()
        """Complete requests that wait for the one before them."""
        self._held = b""
        self._is_discarding = False
        self._deadline_s = 0.0
        self._reset()

    def _reset(self) -> None:
        self._target = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._body: list[bytes] = []
        self._body_bytes = 0
        self._head_bytes = 0
        self._is_in_body = False

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no subclass of asyncio's.
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=WRITE_HIGH_WATER_BYTES)
        peer = transport.get_extra_info("peername")
        self._peer = (peer[0], peer[1]) if isinstance(peer, tuple) else None
        self._deadline_s = self._gate.clock() + self._gate.limits.idle_s
        if not self._gate.admit(self):
            self._refuse(Unavailable(f"{self._gate.limits.connections} clients are connected; try again later"))

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  # asyncio's signature
        self._gate.forget(self)
        self._transport = None
        self._ready.clear()
        current, self._current = self._current, None
        if current is not None and not current.is_over:
            current.is_over = True
            self._gate.disconnected_clients += 1
            if current.on_hangup is not None:
                current.on_hangup(current)

    def eof_received(self) -> bool:
        return False

    def pause_writing(self) -> None:
        self._deadline_s = self._gate.clock() + self._gate.limits.unread_s
        if self._current is not None and self._current.on_pause is not None:
            self._current.on_pause()

    def resume_writing(self) -> None:
        self._deadline_s = 0.0 if self._current is not None else self._gate.clock() + self._gate.limits.idle_s
        if self._current is not None and self._current.on_resume is not None:
            self._current.on_resume()

    def data_received(self, data: bytes) -> None:
        if self._current is not None:
            self._hold(data)
        elif not self._is_discarding:
            self._take(data)

    # What the parser calls.

    def on_url(self, url: bytes) -> None:
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        self._is_in_body = True
        limits = self._gate.limits
        if self._head_bytes > limits.head_bytes and self._size_of_head() > limits.head_bytes:
            raise _Refused(_head_too_large(limits.head_bytes))
        if len(self._headers) > limits.header_count:
            raise _Refused(HeadersTooLarge(f"{len(self._headers)} headers; allowed {limits.header_count}"))
        expects = False
        for name, value in self._headers:
            if name == b"content-length" and value.isdigit() and int(value) > limits.body_bytes:
                raise _Refused(_too_large(int(value), limits.body_bytes))
            expects = expects or (name == b"expect" and value.lower() == b"100-continue")
        if expects and self._transport is not None:
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        self._body_bytes += len(body)
        if self._body_bytes > self._gate.limits.body_bytes:
            raise _Refused(_too_large(self._body_bytes, self._gate.limits.body_bytes))
        self._body.append(body)

    def on_message_complete(self) -> None:
        parser = self._parser
        version = parser.get_http_version()
        if version not in _VERSIONS:
            raise _Refused(InvalidRequest(f"HTTP version: found {version}; allowed {' and '.join(_VERSIONS)}"))
        exchange = Exchange(
            self,
            method=parser.get_method(),
            target=self._target if self._target.startswith(b"/") else _origin_form(self._target),
            headers=tuple(self._headers),
            body=self._body[0] if len(self._body) == 1 else b"".join(self._body),
            request_id=_request_id(self._headers),
            received_s=self._gate.clock(),
            keeps_alive=parser.should_keep_alive(),
            is_http10=version == "1.0",
            peer=self._peer,
            scheme=self._scheme,
        )
        self._reset()
        self._ready.append(exchange)

    # What an exchange calls.

    @property
    def date(self) -> bytes:
        return self._gate.date

    @property
    def writer(self) -> Callable[[bytes], None]:
        return self._transport.write if self._transport is not None else _write_nowhere

    def write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)

    def close_exchange(self, exchange: Exchange) -> None:
        if exchange is not self._current:
            return
        self._current = None
        if self._transport is None:
            return
        if not exchange.keeps_alive:
            self._close_gently()
            return
        self._deadline_s = self._gate.clock() + self._gate.limits.idle_s
        if self._ready or self._held:
            # Not from here: an answer given at once would recurse through every pipelined request.
            asyncio.get_running_loop().call_soon(self._go_on)

    def cut(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    # What the gate calls.

    def enforce_deadline(self, now_s: float) -> None:
        if not self._deadline_s or now_s < self._deadline_s or self._transport is None:
            return
        if self._current is None and not self._is_discarding and (self._head_bytes or self._is_in_body):
            what = "body" if self._is_in_body else "headers"
            self._refuse(TooSlow(f"The request's {what} did not arrive in time"))
        else:
            self.cut()

    def close(self) -> None:
        """What is written still goes out."""
        if self._transport is not None:
            self._transport.close()

    def _take(self, data: bytes) -> None:
        is_first_piece = not self._is_in_body and not self._head_bytes
        if not self._is_in_body:
            self._head_bytes += len(data)
        self._feed(data)
        # Most requests arrive in one piece and never need a deadline.
        if self._is_served_or_refused:
            return
        if self._is_in_body:
            self._deadline_s = self._gate.clock() + self._gate.limits.body_s
        elif is_first_piece and self._head_bytes:
            self._deadline_s = self._gate.clock() + self._gate.limits.head_s

    def _feed(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._parser = httptools.HttpRequestParser(self)
            self._held = self._without_upgrade(data[upgrade.args[0] :]) + self._held
        except httptools.HttpParserCallbackError as error:
            refused = error.__context__
            if not isinstance(refused, _Refused):
                raise
            self._refuse(refused.error)
            return
        except httptools.HttpParserError as error:
            self._refuse(InvalidRequest(f"The request is not valid HTTP: {error}"))
            return
        if not self._is_in_body and self._head_bytes > self._gate.limits.head_bytes and not self._ready:
            self._refuse(_head_too_large(self._gate.limits.head_bytes))
            return
        self._go_on()

    def _without_upgrade(self, rest: bytes) -> bytes:
        """What to parse instead of a request that offers HTTP/2 or WebSocket: a plain one gets the plain answer.

        The parser takes everything after such a head for the new protocol, the request's own body too. Read as the
        next request, that body could be one that nobody before us has seen.
        """
        offer = self._ready[-1]
        if offer.method == b"CONNECT":
            offer.keeps_alive = False
            return b""
        self._ready.pop()
        version = b"1.0" if offer.is_http10 else b"1.1"
        kept = [header for header in offer.headers if header[0] not in (b"upgrade", b"expect")]
        lines = [b"%b %b HTTP/%b" % (offer.method, offer.target, version), *(b"%b: %b" % header for header in kept)]
        return b"\r\n".join((*lines, b"", rest))

    def _size_of_head(self) -> int:
        return len(self._target) + sum(len(name) + len(value) for name, value in self._headers)

    def _go_on(self) -> None:
        """Serves the next complete request, or reads on."""
        if self._current is not None or self._transport is None or self._is_discarding:
            return
        if self._ready:
            self._current = self._ready.popleft()
            self._deadline_s = 0.0
            self._gate.serve(self._current)
        elif self._held:
            held, self._held = self._held, b""
            self._transport.resume_reading()
            self.data_received(held)

    @property
    def _is_served_or_refused(self) -> bool:
        return self._current is not None or self._is_discarding

    def _hold(self, data: bytes) -> None:
        self._held += data
        if len(self._held) > HELD_BYTES and self._transport is not None:
            self._transport.pause_reading()

    def _refuse(self, error: RequestError) -> None:
        """Answers what never became an exchange, and closes."""
        if self._transport is None:
            return
        if not self._ready and self._current is None:
            body = error_body(error)
            headers = [(b"date", self.date), (b"content-type", b"application/json"), (b"connection", b"close")]
            self.write(answer_head(error.status, [*headers, (b"content-length", b"%d" % len(body))]) + body)
        self._close_gently()

    def _close_gently(self) -> None:
        """Ends our side and swallows what still comes, so that the client reads the answer before the reset."""
        assert self._transport is not None
        self._ready.clear()
        self._is_discarding = True
        self._deadline_s = self._gate.clock() + LINGER_S
        if self._transport.can_write_eof():
            self._transport.write_eof()
        else:
            self._transport.close()


_VERSIONS = ("1.0", "1.1")
_REQUEST_ID_PREFIX = secrets.token_hex(8)
_request_numbers = itertools.count()
"""With the prefix unique among all processes, without a system call per request."""


class _Refused(Exception):
    """Carries a refusal through the parser."""

    def __init__(self, error: RequestError) -> None:
        super().__init__(error.message)
        self.error = error


def _write_nowhere(data: bytes) -> None:
    """The client is gone; what serves it will be told."""


def _origin_form(target: bytes) -> bytes:
    """Path and query of `http://host/path?query`, as clients of a proxy write it; others stay."""
    scheme, mark, rest = target.partition(b"://")
    return b"/" + rest.partition(b"/")[2] if mark and scheme.lower() in (b"http", b"https") else target


def _head_too_large(allowed: int) -> HeadersTooLarge:
    return HeadersTooLarge(f"The request's headers are longer than {allowed} bytes")


def _too_large(found: int, allowed: int) -> BodyTooLarge:
    return BodyTooLarge(f"The body has {found} bytes or more; allowed {allowed} ({allowed / 2**20:g} MiB)")


def _request_id(headers: list[tuple[bytes, bytes]]) -> str:
    """The client's own, if it is short and printable, else a random one."""
    for name, value in headers:
        if name == b"x-request-id" and 0 < len(value) <= MAX_REQUEST_ID_BYTES and value.isascii():
            text = value.decode()
            if text.isprintable():
                return text
    return f"{_REQUEST_ID_PREFIX}{next(_request_numbers):016x}"
