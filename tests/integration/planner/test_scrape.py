"""Fetching pages from servers that answer badly, late or without end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from dynamo.planner.scrape import PAGE_BYTES_MAX, Scraper
from dynamo.planner.sight import Source

_HEAD = b"HTTP/1.1 %d X\r\nConnection: close\r\n\r\n"


@asynccontextmanager
async def a_server(kind: str) -> AsyncIterator[str]:
    released = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        if kind == "endless":
            writer.write(_HEAD % 200 + b"x" * (PAGE_BYTES_MAX + 1))
        elif kind == "silent":
            await released.wait()
        else:
            writer.write(_HEAD % (200 if kind == "fine" else 503) + b"up 1\n")
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/metrics"
    finally:
        released.set()
        server.close()
        await server.wait_closed()


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        pytest.param("fine", "", id="fine"),
        pytest.param("failing", "metrics answered 503", id="failing"),
        pytest.param("silent", "no metrics within 0.3 s", id="silent"),
        pytest.param("endless", "metrics page larger than 8 MiB", id="endless"),
    ],
)
async def test_every_source_gets_an_answer_in_time(kind: str, error: str) -> None:
    scraper = Scraper(deadline_s=0.3 if kind == "silent" else 5)
    async with a_server(kind) as url, a_server("fine") as other:
        pages = await asyncio.wait_for(scraper.fetch([Source("a", url), Source("b", other)]), 6)
    await scraper.close()

    assert pages["a"].error == error
    assert (pages["a"].text is None) == bool(error)
    assert pages["b"].text == "up 1\n"
