"""A connection whose requests come faster than its answers stops reading until it has caught up."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from dynamo.mocker.connection import MAX_PIPELINED, Connection, Request, Responder

GET = b"GET /%d HTTP/1.1\r\n\r\n"


class PausableTransport:
    def __init__(self) -> None:
        self.is_paused = False
        self.written = b""

    def write(self, data: bytes) -> None:
        self.written += data

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
