"""A whole frontend in the test's event loop, over fake workers whose every byte the test decides."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Any

from dynamo.discovery.mem import MemFleet
from dynamo.frontend.listener import Limits
from dynamo.frontend.server import Running, running_frontend
from dynamo.frontend.settings import Settings, read_settings
from dynamo.frontend.upstream import Deadlines
from dynamo.process.logs import EventLog
from dynamo.wire.cards import WorkerCard

DEADLINE_S = 10.0
SSE = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
DONE = b"data: [DONE]\n\n"


def a_chunk(payload: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(payload), payload)


def a_frame(text: str, **fields: Any) -> bytes:
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": None}
    return b"data: " + json.dumps({"id": "c", "choices": [choice], **fields}).encode() + b"\n\n"


def usage_frame(completion_tokens: int) -> bytes:
    usage = {"prompt_tokens": 5, "completion_tokens": completion_tokens, "total_tokens": 5 + completion_tokens}
    return b"data: " + json.dumps({"id": "c", "choices": [], "usage": usage}).encode() + b"\n\n"


def a_stream(*payloads: bytes) -> bytes:
    """A whole streamed answer, each payload a chunk of its own."""
    return SSE + b"".join(map(a_chunk, payloads)) + b"0\r\n\r\n"


def a_json(document: object, status: int = 200) -> bytes:
    body = json.dumps(document).encode()
    return b"HTTP/1.1 %d X\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (
        status,
        len(body),
        body,
    )


def a_chat(**changes: Any) -> dict[str, Any]:
    return {"model": "m", "messages": [{"role": "user", "content": "Hi."}], **changes}


@dataclass
class Request:
    """What a fake worker was sent."""

    target: str
    headers: dict[str, str]
    body: bytes

    @property
    def document(self) -> Any:
        return json.loads(self.body)


@dataclass
class Line:
    """A fake worker's side of one connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def say(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def heard_hangup(self) -> bool:
        """Waits until the frontend has closed the connection."""
        with contextlib.suppress(ConnectionError):
            async with asyncio.timeout(DEADLINE_S):
                return await self.reader.read(1) == b""
        return True

    def cut(self) -> None:
        self.writer.transport.abort()


Script = Callable[[Request, Line], Awaitable[None]]


@dataclass
class FakeWorker:
    """Serves whatever `script` says; keeps what it was asked."""

    script: Script
    name: str = "w0"
    requests: list[Request] = field(default_factory=list)
    connections: int = 0
    port: int = 0
    server: asyncio.Server | None = None
    tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def open(self) -> None:
        self.server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
        self.port = self.server.sockets[0].getsockname()[1]

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.tasks.add(asyncio.get_running_loop().create_task(self._serve(reader, writer)))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
                headers = {
                    name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)
                }
                body = await reader.readexactly(int(headers.get("content-length", 0)))
                request = Request(head[0].split(" ")[1], headers, body)
                self.requests.append(request)
                await self.script(request, Line(reader, writer))
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.transport.abort()

    async def close(self) -> None:
        if self.server is not None:
            self.server.close()
            self.server = None
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)

    def card(self, **changes: Any) -> WorkerCard:
        values: dict[str, Any] = {
            "worker_id": self.port,
            "name": self.name,
            "namespace": "test",
            "component": "backend",
            "engine": "fake",
            "model": "m",
            "address": f"http://127.0.0.1:{self.port}",
            "system_address": f"http://127.0.0.1:{self.port}",
            "block_size": 16,
            **changes,
        }
        return WorkerCard(**values)


def always(answer: bytes) -> Script:
    async def script(request: Request, line: Line) -> None:
        await line.say(answer)

    return script


@dataclass
class Stage:
    """A running frontend and its fake workers."""

    running: Running
    discovery: MemFleet
    workers: list[FakeWorker]
    log: io.StringIO
    lines: list[Line] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.running.port}"

    async def until(self, claim: Callable[[], bool]) -> None:
        async with asyncio.timeout(DEADLINE_S):
            while not claim():  # noqa: ASYNC110  # what is claimed has no event
                await asyncio.sleep(0.005)

    async def raw(self) -> Line:
        """A client that speaks bytes; closed with the stage."""
        self.lines.append(Line(*await asyncio.open_connection("127.0.0.1", self.running.port)))
        return self.lines[-1]


def settings_of(*argv: str, **env: str) -> Settings:
    """Fake workers are not probed unless a test asks for it: they answer whatever comes by their script."""
    env = {"DYN_HTTP_BACKEND_HEALTH_INTERVAL_SECS": "0", **env}
    return read_settings(["--http-host", "127.0.0.1", "--http-port", "0", *argv], env)[0]


@contextlib.asynccontextmanager
async def a_stage(
    *scripts: Script | FakeWorker,
    argv: tuple[str, ...] = (),
    env: dict[str, str] | None = None,
    limits: Limits | None = None,
    deadlines: Deadlines | None = None,
    cards: tuple[dict[str, Any], ...] = (),
) -> AsyncIterator[Stage]:
    """A frontend over one fake worker per script; `cards` changes their cards, by position."""
    settings = settings_of(*argv, **(env or {}))
    settings = replace(settings, limits=limits or settings.limits, deadlines=deadlines or settings.deadlines)
    discovery, text = MemFleet(), io.StringIO()
    workers = [s if isinstance(s, FakeWorker) else FakeWorker(s, f"w{i}") for i, s in enumerate(scripts)]
    for index, worker in enumerate(workers):
        await worker.open()
        await discovery.publish(worker.card(**(cards[index] if index < len(cards) else {})))
    log = EventLog(text)
    try:
        async with running_frontend(settings, discovery, log) as running:
            stage = Stage(running, discovery, workers, text)
            yield stage
            for line in stage.lines:
                line.cut()
    finally:
        log.flush()
        for worker in workers:
            await worker.close()


def post(document: object, *, path: str = "/v1/chat/completions", headers: str = "") -> bytes:
    """A raw request."""
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    fields = f"host: x\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n{headers}"
    return f"POST {path} HTTP/1.1\r\n{fields}\r\n".encode() + body
