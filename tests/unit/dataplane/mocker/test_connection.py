"""A connection bounds what is pipelined, upgrades to nothing, and leaves the body of a HEAD answer away."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from dynamo.mocker.connection import MAX_PIPELINED, Connection, Request, Responder

GET = b"GET /%d HTTP/1.1\r\n\r\n"


class PausableTransport:
    def __init__(self) -> None:
        self.is_paused = False
        self.is_closed = False
        self.written = b""

    def write(self, data: bytes) -> None:
        self.written += data

    def close(self) -> None:
        self.is_closed = True

    def pause_reading(self) -> None:
        self.is_paused = True

    def resume_reading(self) -> None:
        self.is_paused = False


async def test_pipelined_requests_are_bounded_and_answered_in_order() -> None:
    asked: list[tuple[Request, Responder]] = []
    connection = Connection(lambda request, responder: asked.append((request, responder)), set())
    transport = PausableTransport()
    connection.connection_made(cast(Any, transport))
    count = MAX_PIPELINED + 1
    connection.data_received(b"".join(GET % number for number in range(count)))
    assert transport.is_paused
    for number in range(count):
        async with asyncio.timeout(2):
            while len(asked) <= number:  # noqa: ASYNC110 - one turn of the loop starts the next request
                await asyncio.sleep(0)
        request, responder = asked[number]
        assert request.path == f"/{number}"
        responder.send(200, b"%d" % number)
    assert not transport.is_paused
    assert transport.written.count(b"HTTP/1.1 200 OK") == count


def answered(request: bytes) -> PausableTransport:
    connection = Connection(lambda _, responder: responder.send(200, b"body"), set())
    transport = PausableTransport()
    connection.connection_made(cast(Any, transport))
    connection.data_received(request)
    return transport


async def test_upgrade_is_not_taken_up_but_the_request_is_answered() -> None:
    transport = answered(b"GET / HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n")
    assert transport.written.endswith(b"connection: close\r\n\r\nbody")
    assert transport.is_closed


async def test_head_is_answered_without_the_body() -> None:
    transport = answered(b"HEAD / HTTP/1.1\r\n\r\n")
    assert b"content-length: 4\r\n" in transport.written
    assert transport.written.endswith(b"\r\n\r\n")
    assert not transport.is_closed
