"""Streamed chats without pause through one address, and what became of each.

Every stream is kept to its promise: status 200, as many tokens as asked for, the usage that says so, `[DONE]`. There
are no second tries. Called by the tests of this folder; runs in a thread of its own, so that tests can wait and kill.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import httpx

MODEL = "mock-model"
STREAM_DEADLINE_S = 60.0
STOP_DEADLINE_S = 90.0
_FRAME = b"\n\n"


@dataclass(frozen=True, slots=True)
class Ask:
    """What every stream asks for."""

    url: str
    tokens: int = 300
    prompt_words: int = 20


@dataclass(slots=True)
class Stream:
    """One request. Times are of the wall clock, in seconds."""

    began_s: float
    ended_s: float = 0.0
    first_s: float = 0.0
    longest_gap_s: float = 0.0
    status: int = 0
    request_id: str = ""
    tokens: int = 0
    is_done: bool = False
    error: str = ""

    def failure(self, tokens: int) -> str:
        """Empty for a stream that is whole."""
        if self.error:
            return self.error
        if self.status != 200:
            return f"status {self.status}"
        if self.tokens != tokens:
            return f"{self.tokens} of {tokens} tokens"
        return "" if self.is_done else "no [DONE]"


@dataclass
class Load:
    """All streams of one load. Finished ones are added as they end."""

    ask: Ask
    streams: list[Stream] = field(default_factory=list)

    def failures(self) -> list[str]:
        return [found for stream in self.streams if (found := stream.failure(self.ask.tokens))]

    def longest_gap_s(self) -> float:
        return max((stream.longest_gap_s for stream in self.streams), default=0.0)

    def summary(self) -> str:
        lengths = Counter(stream.tokens for stream in self.streams)
        failures = Counter(self.failures())
        said = "; ".join(f"{count} x {what}" for what, count in failures.items()) or "none"
        return (
            f"{len(self.streams)} requests, {failures.total()} failed ({said}), "
            f"lengths {dict(lengths)}, longest gap {self.longest_gap_s():.2f} s"
        )


@contextlib.contextmanager
def running_load(ask: Ask, count: int) -> Iterator[Load]:
    """`count` streams at any time until the block ends; then those that run finish, and no new ones begin.

    Every second client keeps its connection for its next stream, the others make a new one each time.
    """
    load, stop = Load(ask), threading.Event()

    async def clients() -> None:
        async with asyncio.TaskGroup() as group:
            for number in range(count):
                group.create_task(_client(load, stop, keeps_connection=number % 2 == 0))

    thread = threading.Thread(target=lambda: asyncio.run(clients()), name="load")
    thread.start()
    try:
        yield load
    finally:
        stop.set()
        thread.join(STOP_DEADLINE_S)
        assert not thread.is_alive(), f"streams still run {STOP_DEADLINE_S:.0f} s after the load's end"


async def _client(load: Load, stop: threading.Event, *, keeps_connection: bool) -> None:
    limits = httpx.Limits() if keeps_connection else httpx.Limits(max_keepalive_connections=0)
    async with httpx.AsyncClient(trust_env=False, timeout=STREAM_DEADLINE_S, limits=limits) as client:
        while not stop.is_set():
            stream = await stream_once(client, load.ask, _prompt(load.ask.prompt_words))
            load.streams.append(stream)


async def stream_once(client: httpx.AsyncClient, ask: Ask, prompt: str) -> Stream:
    """Never raises for what the server does: that is the stream's `error`."""
    stream = Stream(time.time())
    pieces: list[bytes] = []
    body = {
        "model": MODEL,
        "stream": True,
        "max_tokens": ask.tokens,
        "stream_options": {"include_usage": True},
        "messages": [{"role": "user", "content": prompt}],
    }
    try:
        async with client.stream("POST", f"{ask.url}/v1/chat/completions", json=body) as answer:
            stream.status, stream.request_id = answer.status_code, answer.headers.get("x-request-id", "")
            await _read(answer, stream, pieces)
    except httpx.HTTPError as error:
        stream.error = f"{type(error).__name__} {error}".strip()
    stream.ended_s = time.time()
    _judge(stream, b"".join(pieces))
    return stream


async def _read(answer: httpx.Response, stream: Stream, pieces: list[bytes]) -> None:
    last_s = 0.0
    async for piece in answer.aiter_raw():
        now_s = time.time()
        if last_s:
            stream.longest_gap_s = max(stream.longest_gap_s, now_s - last_s)
        stream.first_s = stream.first_s or now_s
        last_s = now_s
        pieces.append(piece)


def _judge(stream: Stream, body: bytes) -> None:
    """Counts the text deltas, which the mocker sends one a token, and compares them with the usage."""
    if stream.status != 200:
        stream.error = stream.error or f"status {stream.status}: {body.decode(errors='replace')[:200]}"
        return
    frames = [frame for frame in body.split(_FRAME) if frame]
    stream.is_done = frames[-1:] == [b"data: [DONE]"]
    counted = 0
    for frame in frames:
        stream.tokens += _tokens_of(frame)
        if b'"usage":{' in frame:
            counted = json.loads(frame.removeprefix(b"data: "))["usage"]["completion_tokens"]
        if b'"error"' in frame and not stream.error:
            stream.error = frame.decode(errors="replace")[:300]
    if not stream.error and counted != stream.tokens:
        stream.error = f"usage says {counted} tokens, {stream.tokens} came"


def _tokens_of(frame: bytes) -> int:
    return int(b'"delta":{"content"' in frame)


def _prompt(words: int) -> str:
    return " ".join(random.choices(_WORDS, k=words))


_WORDS: Sequence[str] = [
    "river",
    "stone",
    "apple",
    "cloud",
    "copper",
    "seven",
    "window",
    "garden",
    "silver",
    "morning",
    "paper",
    "bridge",
]
