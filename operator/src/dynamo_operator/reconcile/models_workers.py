"""Workers' adapter verbs over HTTP.

Duty: ask one worker one thing, within bounds of time and size, and say in one sentence what went wrong. What a worker
answers may hold secrets of an adapter's address; whoever shows it takes them out. Callers: the models' reconciler.
"""

from __future__ import annotations

import asyncio
from typing import Any, Protocol
from urllib.parse import quote

import httpx2
import msgspec

PATIENCE_S = 15.0  # for one answer; an engine reads an adapter from disk in a few seconds
MAX_ANSWER_BYTES = 1 << 20
LONGEST_REASON = 200


class WorkerFailed(Exception):
    """The worker is not there, cannot or will not; the message continues a sentence about it."""


class Workers(Protocol):
    """The system servers of workers, by base URL. Everything raises WorkerFailed and nothing else."""

    async def loras(self, address: str) -> frozenset[str]:
        """Names of the adapters that are loaded, and usable."""
        ...

    async def load(self, address: str, name: str, uri: str) -> None:
        """Returns when the worker has accepted it; only `loras` tells whether it came to be."""
        ...

    async def unload(self, address: str, name: str) -> None:
        """One that is not loaded is fine."""
        ...


class _Problem(msgspec.Struct):
    message: str = ""
    error: Any = None
    detail: Any = None


class _Listing(msgspec.Struct):
    loras: dict[str, Any] | list[str]


class HttpWorkers:
    def __init__(self, http: httpx2.AsyncClient, *, patience_s: float = PATIENCE_S) -> None:
        self._http = http
        self._patience_s = patience_s

    async def loras(self, address: str) -> frozenset[str]:
        body = await self._ask("GET", f"{address}/v1/loras")
        try:
            return frozenset(msgspec.json.decode(body, type=_Listing).loras)
        except msgspec.DecodeError as error:
            raise WorkerFailed("answers GET /v1/loras with something else than a list of adapters") from error

    async def load(self, address: str, name: str, uri: str) -> None:
        await self._ask("POST", f"{address}/v1/loras", {"lora_name": name, "source": {"uri": uri}})

    async def unload(self, address: str, name: str) -> None:
        await self._ask("DELETE", f"{address}/v1/loras/{quote(name, safe='')}", missing_is_fine=True)

    async def _ask(
        self, method: str, url: str, document: object | None = None, *, missing_is_fine: bool = False
    ) -> bytes:
        content = None if document is None else msgspec.json.encode(document)
        headers = {} if content is None else {"Content-Type": "application/json"}
        try:
            async with (
                asyncio.timeout(self._patience_s),
                self._http.stream(method, url, content=content, headers=headers, follow_redirects=False) as answer,
            ):
                body = await _bounded(answer)
        except TimeoutError as error:
            raise WorkerFailed(f"does not answer within {self._patience_s:g} s") from error
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise WorkerFailed(f"cannot be reached ({type(error).__name__})") from error
        if 200 <= answer.status_code < 300 or (missing_is_fine and answer.status_code == 404):
            return body
        raise WorkerFailed(_refusal(method, answer.status_code, body))


async def _bounded(answer: httpx2.Response) -> bytes:
    body = b""
    async for chunk in answer.aiter_bytes():
        body += chunk
        if len(body) > MAX_ANSWER_BYTES:
            raise WorkerFailed(f"answers more than {MAX_ANSWER_BYTES >> 20} MiB")
    return body


def _refusal(method: str, code: int, body: bytes) -> str:
    if code == 404:
        return "offers no adapters: it needs the environment variable DYN_LORA_ENABLED=true"
    try:
        problem = msgspec.json.decode(body, type=_Problem)
        reasons = (problem.message, problem.error, problem.detail)
        reason = next((each for each in reasons if isinstance(each, str) and each), "")
    except msgspec.DecodeError:
        reason = ""
    return f"answers {method} with {code}" + (f": {reason}" if reason else "")
