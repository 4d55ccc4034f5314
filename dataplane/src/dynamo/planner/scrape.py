"""Fetches metrics pages, many at once, each within a deadline and a size.

Knows nothing of what is on them. Called by `loop`. A page that could not be had is an answer, not an error.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass

import httpx

from dynamo.planner.sight import Source

PAGE_BYTES_MAX = 8 << 20
DEADLINE_S = 4.0
"""For one page, from connecting to its last byte; below the shortest usual tick."""
AT_ONCE = 128
"""More pages than ever hang together: each full round of those costs a deadline."""


@dataclass(frozen=True, slots=True)
class Page:
    text: str | None
    error: str = ""


class Scraper:
    """Holds the connections; one per planner, closed by whoever made it."""

    def __init__(self, deadline_s: float = DEADLINE_S) -> None:
        self._deadline_s = deadline_s
        limits = httpx.Limits(max_connections=AT_ONCE, keepalive_expiry=60)
        # Proxies of the environment lead out of the cluster: pods are reached straight.
        self._client = httpx.AsyncClient(timeout=deadline_s, limits=limits, trust_env=False)
        self._turns = asyncio.Semaphore(AT_ONCE)

    async def fetch(self, sources: Iterable[Source]) -> dict[str, Page]:
        """By source name."""
        wanted = list(sources)
        pages = await asyncio.gather(*(self._fetch(source) for source in wanted))
        return {source.name: page for source, page in zip(wanted, pages, strict=True)}

    async def close(self) -> None:
        await self._client.aclose()

    async def _fetch(self, source: Source) -> Page:
        async with self._turns:
            try:
                async with asyncio.timeout(self._deadline_s):
                    return await self._read(source.url)
            except TimeoutError:
                return Page(None, f"no metrics within {self._deadline_s:g} s")
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                return Page(None, f"no metrics: {type(error).__name__}")

    async def _read(self, url: str) -> Page:
        content = bytearray()
        async with self._client.stream("GET", url) as answer:
            if answer.status_code != 200:
                return Page(None, f"metrics answered {answer.status_code}")
            async for chunk in answer.aiter_bytes():
                content += chunk
                if len(content) > PAGE_BYTES_MAX:
                    return Page(None, f"metrics page larger than {PAGE_BYTES_MAX >> 20} MiB")
        return Page(content.decode(errors="replace"))
