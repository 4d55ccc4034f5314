"""The request that shows whether an engine still gets anything done: what is asked, and whether it was answered.

Duty: word it for any surface and send it once. It must not say when, nor what an answer means. Callers: the shell
words it, `canary.py` sends it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import msgspec

from dynamo.wire.cards import ModelType
from dynamo.wire.http1 import MAX_HEAD_BYTES, HttpFormatError, parse_answer_head, request_head
from dynamo.worker.ports import EngineFacts

_MARKER = "_HEALTH_CHECK"
_CHEAPEST_FIRST = (ModelType.COMPLETIONS, ModelType.CHAT, ModelType.EMBEDDINGS)
_LEAST: Mapping[str, Any] = {"max_tokens": 1, "temperature": 0}
_ONE_TOKEN: Mapping[ModelType, Mapping[str, Any]] = {
    ModelType.COMPLETIONS: {"prompt": ".", **_LEAST},
    ModelType.CHAT: {"messages": [{"role": "user", "content": "."}], **_LEAST},
    ModelType.EMBEDDINGS: {"input": "."},
}
_PATHS: Mapping[ModelType, str] = {
    ModelType.COMPLETIONS: "/v1/completions",
    ModelType.CHAT: "/v1/chat/completions",
    ModelType.EMBEDDINGS: "/v1/embeddings",
}


@dataclass(frozen=True, slots=True)
class Canary:
    """One request, ready to be sent to any rank."""

    host: str
    port: int
    path: str
    body: bytes
    is_parallel: bool = False
    """The engine has several ranks, and takes the one that is meant from a header."""

    async def ask(self, rank: int, timeout_s: float) -> int | None:
        """The answer's status; None: there was none in time."""
        try:
            async with asyncio.timeout(timeout_s):
                return await self._exchange(rank)
        except (OSError, TimeoutError, HttpFormatError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            return None

    async def _exchange(self, rank: int) -> int:
        reader, writer = await asyncio.open_connection(self.host, self.port, limit=MAX_HEAD_BYTES)
        try:
            headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(self.body))]
            if self.is_parallel:
                headers.append((b"x-data-parallel-rank", b"%d" % rank))
            name = f"[{self.host}]" if ":" in self.host else self.host
            writer.write(request_head(b"POST", self.path.encode(), f"{name}:{self.port}".encode(), headers) + self.body)
            # An answer that is not streamed begins when it is computed: its head says all.
            return parse_answer_head((await reader.readuntil(b"\r\n\r\n"))[:-4]).status
        finally:
            # At once: an engine that wakes up later has nobody to compute the answer for.
            writer.transport.abort()


def make_canary(facts: EngineFacts, model: str, body: Mapping[str, Any] | None) -> Canary:
    """One token of the cheapest kind that the engine answers, or `body`, on the surface that fits it."""
    url = urlsplit(facts.address)
    if body is None:
        kind = next(kind for kind in _CHEAPEST_FIRST if kind in facts.model_types)
        body = _ONE_TOKEN[kind]
    elif "messages" in body:
        kind = ModelType.CHAT
    else:
        kind = ModelType.EMBEDDINGS if "input" in body else ModelType.COMPLETIONS
    content = msgspec.json.encode({"model": model, **body})
    return Canary(url.hostname or "", url.port or 80, _PATHS[kind], content, facts.data_parallel_size > 1)


def openai_body(found: Mapping[str, Any]) -> dict[str, Any]:
    """A payload as OpenAI servers take it; of upstream's own form, the parts that mean the same."""
    body = {name: value for name, value in found.items() if name not in (_MARKER, "stream")}
    if "token_ids" not in body:
        return body
    upstream, body = body, {"prompt": body["token_ids"]}
    for part in ("sampling_options", "stop_conditions"):
        options = upstream.get(part)
        if isinstance(options, Mapping):
            body |= {name: value for name, value in options.items() if value is not None}
    return body
