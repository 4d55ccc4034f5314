"""Fetches a rank's KV state from its worker's system server. The frontend gives it to the event feed.

The address comes from the worker's card and nowhere else; the answer is bounded in size and time.
"""

from __future__ import annotations

import asyncio

import httpx

from dynamo.events.ports import StateUnavailable
from dynamo.wire.cards import WorkerCard
from dynamo.wire.router_events import EventError, KvState, decode_state

FETCH_TIMEOUT_S = 5.0
STATE_BYTES_MAX = 256 << 20
"""32 million blocks."""


class HttpStateSource:
    """`GET {system_address}/v1/kv_state/{dp_rank}[?after=N]`."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client

    async def fetch(self, card: WorkerCard, dp_rank: int, after: int | None) -> KvState:
        url = f"{card.system_address}/v1/kv_state/{dp_rank}" + ("" if after is None else f"?after={after}")
        try:
            async with asyncio.timeout(FETCH_TIMEOUT_S):
                state = decode_state(await self._read(url))
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError, EventError) as error:
            raise StateUnavailable(f"{url}: {error or type(error).__name__}") from error
        if (state.worker_id, state.dp_rank) != (card.worker_id, dp_rank):
            raise StateUnavailable(f"{url}: answered by worker {state.worker_id:x} rank {state.dp_rank}")
        return state

    async def _read(self, url: str) -> bytes:
        async with self._client.stream("GET", url) as response:
            if response.status_code != httpx.codes.OK:
                raise httpx.HTTPStatusError(
                    f"status {response.status_code}", request=response.request, response=response
                )
            body = bytearray()
            async for chunk in response.aiter_bytes():
                body += chunk
                if len(body) > STATE_BYTES_MAX:
                    raise EventError(f"more than {STATE_BYTES_MAX} bytes")
            return bytes(body)
