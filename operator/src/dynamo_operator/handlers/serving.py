"""Two plain HTTP pages: health and metrics.

Duty: answer GET with what a function says, within a deadline, to anybody. It must not know what is healthy.
Callers: the process's wiring. A web framework would bring its own signal handlers and 20 MB for three routes.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

REQUEST_DEADLINE_S = 5.0
HEAD_LIMIT_BYTES = 16 * 1024
_REASONS = {200: "OK", 404: "Not Found", 405: "Method Not Allowed", 503: "Service Unavailable"}


@dataclass(frozen=True, slots=True)
class Page:
    status: int
    body: bytes
    content_type: str = "text/plain; charset=utf-8"


Pages = Mapping[str, Callable[[], Awaitable[Page]]]


@asynccontextmanager
async def serving(pages: Pages, *, port: int, host: str = "") -> AsyncIterator[int]:
    """Serve until left; yields the port, for those who asked for 0."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _answer(pages, reader, writer)

    server = await asyncio.start_server(handle, host or None, port, limit=HEAD_LIMIT_BYTES)
    try:
        yield int(server.sockets[0].getsockname()[1])
    finally:
        server.close()


async def _answer(pages: Pages, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        async with asyncio.timeout(REQUEST_DEADLINE_S):
            head = await reader.readuntil(b"\r\n\r\n")
            page = await _page(pages, head)
            writer.write(_response(page, with_body=not head.startswith(b"HEAD ")))
            await writer.drain()
    except (TimeoutError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        pass  # a client that says nothing we understand gets nothing
    finally:
        writer.close()


async def _page(pages: Pages, head: bytes) -> Page:
    method, _, rest = head.partition(b" ")
    path = rest.partition(b" ")[0].partition(b"?")[0].decode("latin-1")
    if path not in pages:
        return Page(404, b"not found\n")
    if method not in {b"GET", b"HEAD"}:
        return Page(405, b"only GET\n")
    return await pages[path]()


def _response(page: Page, *, with_body: bool) -> bytes:
    head = (
        f"HTTP/1.1 {page.status} {_REASONS[page.status]}\r\n"
        f"Content-Type: {page.content_type}\r\nContent-Length: {len(page.body)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + (page.body if with_body else b"")
