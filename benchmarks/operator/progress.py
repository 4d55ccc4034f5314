"""Follows how far the graphs are, at little cost for the API server that is measured: one watch and small counts.

Called by the benchmark's run.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import httpx2
import msgspec

GRAPHS = "/apis/nvidia.com/v1beta1/dynamographdeployments"
DEPLOYMENTS = "/apis/apps/v1/deployments"
LOOK_S = 0.25


class _Condition(msgspec.Struct, frozen=True):
    type: str = ""
    status: str = ""


class _Status(msgspec.Struct, frozen=True):
    conditions: tuple[_Condition, ...] = ()


class _Metadata(msgspec.Struct, frozen=True):
    name: str = ""


class _Graph(msgspec.Struct, frozen=True):
    metadata: _Metadata = _Metadata()
    status: _Status = _Status()


class _Seen(msgspec.Struct, frozen=True):
    type: str
    object: _Graph


async def count(http: httpx2.AsyncClient, path: str) -> int:
    """How many objects a collection has; one of them is read."""
    answer = (await http.get(path, params={"limit": "1"})).json()
    return len(answer["items"]) + int(answer["metadata"].get("remainingItemCount") or 0)


async def until_count(http: httpx2.AsyncClient, path: str, wanted: int, began_s: float) -> float:
    """Seconds from `began_s` until a collection has so many objects."""
    while await count(http, path) != wanted:  # noqa: ASYNC110  the caller has the deadline, a watch of all costs more
        await asyncio.sleep(LOOK_S)
    return time.monotonic() - began_s


async def until_ready(http: httpx2.AsyncClient, wanted: int, began_s: float) -> float:
    """Seconds from `began_s` until so many graphs are Ready at once."""
    ready: set[str] = set()
    async for name, is_ready in _readiness(http):
        (ready.add if is_ready else ready.discard)(name)
        if len(ready) == wanted:
            return time.monotonic() - began_s
    raise AssertionError("the watch of graphs ended")


async def _readiness(http: httpx2.AsyncClient) -> AsyncIterator[tuple[str, bool]]:
    async with http.stream("GET", GRAPHS, params={"watch": "1", "timeoutSeconds": "7200"}, timeout=None) as answer:
        async for line in answer.aiter_lines():
            seen = msgspec.json.decode(line, type=_Seen)
            is_ready = any(each.type == "Ready" and each.status == "True" for each in seen.object.status.conditions)
            yield seen.object.metadata.name, is_ready and seen.type != "DELETED"
