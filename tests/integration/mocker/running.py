"""A mocker engine inside the test's own event loop, and small readers of its answers."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import httpx

from dynamo.mocker.config import MockerConfig
from dynamo.mocker.engine import MockerEngine
from dynamo.mocker.timing import Polynomial, Speed
from dynamo.mocker.work import Limits
from dynamo.process.logs import EventLog
from dynamo.worker.ports import EngineFacts

FAST = Speed(Polynomial(), ratio=0)
LIMITS = Limits(total_blocks=512, block_size=16)


@dataclass(frozen=True, slots=True)
class Running:
    engine: MockerEngine
    facts: EngineFacts
    http: httpx.AsyncClient
    said: io.StringIO
    """Its log; `lines` reads it."""
    log: EventLog

    def lines(self) -> list[dict[str, Any]]:
        self.log.flush()
        return [json.loads(line) for line in self.said.getvalue().splitlines()]

    async def chat(self, text: str = "hello", **fields: Any) -> httpx.Response:
        headers = fields.pop("headers", None)
        body = {"messages": [{"role": "user", "content": text}], "max_tokens": 5, **fields}
        return await self.http.post("/v1/chat/completions", json=body, headers=headers)

    async def complete(self, prompt: Any, **fields: Any) -> httpx.Response:
        headers = fields.pop("headers", None)
        body = {"prompt": prompt, "max_tokens": 5, **fields}
        return await self.http.post("/v1/completions", json=body, headers=headers)


@contextlib.asynccontextmanager
async def running(**settings: Any) -> AsyncIterator[Running]:
    said = io.StringIO()
    log = EventLog(said, as_json=True)
    engine = MockerEngine(MockerConfig(**{"limits": LIMITS, "speed": FAST, **settings}), log)
    facts = await engine.start()
    try:
        async with httpx.AsyncClient(base_url=facts.address, timeout=20) as http:
            yield Running(engine, facts, http, said, log)
    finally:
        await engine.stop()


async def until(condition: Callable[[], bool], timeout_s: float = 5.0) -> None:
    """Turns the event loop until the state is reached."""
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110 - the engine offers no event for this state
            await asyncio.sleep(0)


def frames(body: str) -> list[Any]:
    """The JSON of each SSE frame; asserts that [DONE] is the last one."""
    lines = [line.removeprefix("data: ") for line in body.split("\n\n") if line]
    assert lines[-1] == "[DONE]", lines[-1:]
    return [json.loads(line) for line in lines[:-1]]


def text_of(chunks: list[Any]) -> str:
    return "".join(
        choice.get("text") or choice.get("delta", {}).get("content") or ""
        for chunk in chunks
        for choice in chunk["choices"]
    )
