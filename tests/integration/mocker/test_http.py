"""The HTTP server at the level of bytes: keep-alive, pipelining, broken requests, limits."""

from __future__ import annotations

import asyncio

import pytest

from tests.integration.mocker.running import Running, running, until

BODY = b'{"prompt":"x","max_tokens":2}'
POST = b"POST /v1/completions HTTP/1.1\r\nhost: a\r\ncontent-length: %d\r\n\r\n%b" % (len(BODY), BODY)
GET = b"GET /version HTTP/1.1\r\nhost: a\r\n\r\n"


async def talk(mocker: Running, sent: bytes, *, closes: bool = True) -> bytes:
    """Everything the server answers until it closes; `closes`: our side ends first."""
    host, port = mocker.facts.address.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        writer.write(sent)
        await writer.drain()
        if closes:
            async with asyncio.timeout(5):
                return await reader.read()
        return b""
    finally:
        writer.close()
        await writer.wait_closed()


async def test_pipelined_requests_are_answered_in_order_on_one_connection() -> None:
    async with running() as mocker:
        last = GET.replace(b"host: a\r\n", b"host: a\r\nconnection: close\r\n")
        answer = await talk(mocker, POST + GET + POST + last)
        assert answer.count(b"HTTP/1.1 200 OK") == 4
        assert answer.index(b"cmpl-") < answer.index(b'"version"') < answer.rindex(b"cmpl-")
        assert answer.rstrip().endswith(b"}")


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        pytest.param(b"hello\r\n\r\n", 400, id="not HTTP"),
        pytest.param(b"GET / HTTP/1.1\r\nx: " + b"a" * 70_000 + b"\r\n\r\n", 400, id="long header"),
        pytest.param(b"POST /v1/completions HTTP/1.1\r\ncontent-length: x\r\n\r\n", 400, id="bad length"),
        pytest.param(b"GET /nothing HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n", 404, id="no route"),
    ],
)
async def test_broken_requests_get_a_json_error_and_the_connection_ends(sent: bytes, status: int) -> None:
    async with running() as mocker:
        head, _, body = (await talk(mocker, sent)).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 %d " % status)
        assert body.startswith(b'{"error"')
        assert (await mocker.chat()).status_code == 200


async def test_too_large_body_is_refused_before_it_is_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dynamo.mocker.connection.MAX_BODY_BYTES", 1000)
    async with running() as mocker:
        answer = await talk(mocker, b"POST /v1/completions HTTP/1.1\r\ncontent-length: 2000\r\n\r\n" + b"x" * 2000)
        assert answer.startswith(b"HTTP/1.1 413 ")


async def test_client_that_leaves_mid_request_costs_nothing() -> None:
    async with running() as mocker:
        for cut in (1, 20, len(POST) - 3):
            await talk(mocker, POST[:cut], closes=False)
        await talk(mocker, POST, closes=False)
        await until(lambda: mocker.engine.in_flight == 0)
        assert (await mocker.chat()).status_code == 200


async def test_expect_continue_is_answered_before_the_body() -> None:
    async with running() as mocker:
        expecting = POST.replace(b"host: a", b"host: a\r\nexpect: 100-continue\r\nconnection: close")
        assert (await talk(mocker, expecting)).startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK")


async def test_chunked_bodies_are_read() -> None:
    async with running() as mocker:
        sent = (
            b"POST /v1/completions HTTP/1.1\r\nhost: a\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n"
            b"%x\r\n%b\r\n%x\r\n%b\r\n0\r\n\r\n" % (5, BODY[:5], len(BODY) - 5, BODY[5:])
        )
        assert (await talk(mocker, sent)).startswith(b"HTTP/1.1 200 OK")
