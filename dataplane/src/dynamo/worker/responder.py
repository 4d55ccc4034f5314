"""A small HTTP/1.1 server for the system port: requests with bounded heads and bodies, one handler, keep-alive.

A framework would cost a worker most of its start-up time. Knows nothing of routes; errors of the handler become 500.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import parse_qsl, unquote

HEAD_BYTES_MAX = 32 << 10
BODY_BYTES_MAX = 1 << 20
IDLE_TIMEOUT_S = 75.0
"""For the next request on a connection; longer than the pauses between scrapes and probes."""
BODY_TIMEOUT_S = 10.0
WRITE_TIMEOUT_S = 30.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Request:
    method: str
    path: str
    """Percent-decoded."""
    query: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Response:
    status: int
    body: bytes
    content_type: str = "application/json"


Handler = Callable[[Request], Awaitable[Response]]


class _BadRequest(Exception):
    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class Responder:
    """Listens from `start` to `close`."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    async def start(self, host: str, port: int) -> int:
        """Returns the port. Raises OSError when it is taken."""
        self._server = await asyncio.start_server(self._serve, host, port, limit=HEAD_BYTES_MAX)
        bound: int = self._server.sockets[0].getsockname()[1]
        return bound

    async def close(self) -> None:
        if self._server is None:
            return
        self._server.close()
        for connection in list(self._connections):
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            while await self._answer_one(reader, writer):
                pass
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.CancelledError):
            # The peer left or idled, or we close: nothing to answer. A cancelled handler task would be logged as a
            # defect by the streams module.
            pass
        finally:
            self._connections.discard(task)
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _answer_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """False: the connection ends."""
        keep_alive = True
        try:
            request, keep_alive = await _read(reader)
            response = await self._handled(request)
        except _BadRequest as error:
            keep_alive = False
            response = Response(error.status, str(error).encode(), "text/plain")
            request = Request("GET", "", {}, b"")
        writer.write(_head(response, keep_alive))
        if request.method != "HEAD":
            writer.write(response.body)
        async with asyncio.timeout(WRITE_TIMEOUT_S):
            await writer.drain()
        return keep_alive

    async def _handled(self, request: Request) -> Response:
        try:
            return await self._handler(request)
        except Exception:
            # On purpose: one broken answer must not take health and metrics with it.
            _log.exception("%s %s", request.method, request.path)
            return Response(500, b'{"error":"Handler error","message":"see the worker\'s log"}')


async def _read(reader: asyncio.StreamReader) -> tuple[Request, bool]:
    """The next request and whether the connection stays open after it."""
    try:
        async with asyncio.timeout(IDLE_TIMEOUT_S):
            head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.LimitOverrunError:
        raise _BadRequest(431, f"request head: more than {HEAD_BYTES_MAX} bytes") from None
    line, *lines = head[:-4].decode("latin-1").split("\r\n")
    words = line.split(" ")
    if len(words) != 3 or not words[2].startswith("HTTP/1."):
        raise _BadRequest(400, "request line: expected METHOD TARGET HTTP/1.x")
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    keep_alive = headers.get("connection", "keep-alive" if words[2] == "HTTP/1.1" else "close").lower() != "close"
    target, _, query = words[1].partition("?")
    body = await _read_body(reader, headers)
    return Request(words[0], unquote(target), dict(parse_qsl(query)), body), keep_alive


async def _read_body(reader: asyncio.StreamReader, headers: Mapping[str, str]) -> bytes:
    if "transfer-encoding" in headers:
        raise _BadRequest(411, "send the body with Content-Length")
    length = headers.get("content-length", "0")
    if not (length.isascii() and length.isdigit()):
        raise _BadRequest(400, f"Content-Length: found {length!r}")
    if int(length) > BODY_BYTES_MAX:
        raise _BadRequest(413, f"body: found {length} bytes, at most {BODY_BYTES_MAX} are allowed")
    async with asyncio.timeout(BODY_TIMEOUT_S):
        return await reader.readexactly(int(length))


def _head(response: Response, keep_alive: bool) -> bytes:
    return (
        f"HTTP/1.1 {response.status} {HTTPStatus(response.status).phrase}\r\n"
        f"Content-Type: {response.content_type}\r\n"
        f"Content-Length: {len(response.body)}\r\n"
        f"Connection: {'keep-alive' if keep_alive else 'close'}\r\n\r\n"
    ).encode("latin-1")
