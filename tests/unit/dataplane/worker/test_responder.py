"""The system port's HTTP: bounded, keep-alive, and unharmed by what peers send."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from dynamo.worker.responder import BODY_BYTES_MAX, HEAD_BYTES_MAX, Request, Responder, Response


async def _echo(request: Request) -> Response:
    if request.path == "/boom":
        raise RuntimeError("boom")
    text = f"{request.method} {request.path} {sorted(request.query.items())} {request.body.decode()}"
    return Response(200, text.encode(), "text/plain")


@asynccontextmanager
async def connected() -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    responder = Responder(_echo)
    port = await responder.start("127.0.0.1", 0)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield reader, writer
    finally:
        writer.close()
        await writer.wait_closed()
        await responder.close()


async def answer(reader: asyncio.StreamReader, *, has_body: bool = True) -> tuple[int, bytes]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    length = int(head.lower().partition("content-length: ")[2].partition("\r\n")[0])
    return int(head.split(" ")[1]), await reader.readexactly(length) if has_body else b""


async def test_requests_share_a_connection() -> None:
    async with connected() as (reader, writer):
        writer.write(b"GET /a%20b?x=1&y=%26 HTTP/1.1\r\n\r\nPOST /c HTTP/1.1\r\nContent-Length: 3\r\n\r\nxyz")
        assert await answer(reader) == (200, b"GET /a b [('x', '1'), ('y', '&')] ")
        assert await answer(reader) == (200, b"POST /c [] xyz")
        writer.write(b"HEAD /d HTTP/1.1\r\nConnection: close\r\n\r\n")
        assert await answer(reader, has_body=False) == (200, b"")
        assert await reader.read() == b""


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        pytest.param(b"nonsense\r\n\r\n", 400, id="no-request-line"),
        pytest.param(b"GET / SPDY/3\r\n\r\n", 400, id="other-protocol"),
        pytest.param(b"POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n", 400, id="length-no-number"),
        pytest.param(b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400, id="negative-length"),
        pytest.param(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", 411, id="chunked"),
        pytest.param(b"POST / HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % (BODY_BYTES_MAX + 1), 413, id="large-body"),
        pytest.param(b"GET / HTTP/1.1\r\nX: " + b"x" * HEAD_BYTES_MAX + b"\r\n\r\n", 431, id="large-head"),
    ],
)
async def test_bad_requests_are_refused_and_the_connection_ends(request_: bytes, status: int) -> None:
    async with connected() as (reader, writer):
        writer.write(request_)
        assert (await answer(reader))[0] == status


async def test_failing_handler_is_500_and_the_connection_goes_on() -> None:
    async with connected() as (reader, writer):
        writer.write(b"GET /boom HTTP/1.1\r\n\r\n")
        assert (await answer(reader))[0] == 500
        writer.write(b"GET /ok HTTP/1.1\r\n\r\n")
        assert (await answer(reader))[0] == 200


async def test_close_does_not_wait_for_idle_connections() -> None:
    responder = Responder(_echo)
    port = await responder.start("127.0.0.1", 0)
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    async with asyncio.timeout(1):
        await responder.close()
    writer.close()
    await writer.wait_closed()
