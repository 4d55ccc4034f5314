"""An HTTP relay before the API server that answers wrongly, late or not at all, as told.

It speaks plain HTTP to its clients and holds the administrator's certificate towards the server, so that it sees every
request. `faults` may be replaced at any time, from any thread. Must not know what an operator does.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import yaml
from aiohttp import web
from yarl import URL

from dynamo_operator.kube import find_access
from tests.cluster.access import Access

START_S = 20.0
_HOP = frozenset({"connection", "transfer-encoding", "content-length", "host", "keep-alive"})
_EXPIRED = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 410, "reason": "Expired"}


@dataclass(frozen=True, slots=True)
class Faults:
    """refusals: answered instead of the server. share: of the calls that are no watches, by a seeded chance.

    truncated: whether answers and watch lines stop in their middle, for the same share of them.
    late_s: before every call. watch_late_s: how late watches tell. is_expired: watches say 410 and end.
    is_frozen: what is open, and what comes, stays open and silent.
    """

    refusals: tuple[int, ...] = ()
    share: float = 0.0
    truncated: bool = False
    late_s: float = 0.0
    watch_late_s: float = 0.0
    is_expired: bool = False
    is_frozen: bool = False


NONE = Faults()


class FaultyApi:
    """`kubeconfig` leads through it. `hit` counts the calls that a fault changed."""

    def __init__(self, access: Access, folder: Path, user: str = "") -> None:
        self.faults = NONE
        self.hit = 0
        self._access = find_access(access.kubeconfig)
        self._chance = random.Random(1)
        self.kubeconfig = folder / "faulty.kubeconfig"
        self._identity = {"Impersonate-User": user, "Impersonate-Group": "system:masters"} if user else {}
        self._stop = asyncio.Event()
        self._watches: set[asyncio.Transport] = set()
        self._deaf: set[asyncio.Transport] = set()

    def cut_watches(self) -> None:
        """Ends every open watch without a word; called from any thread."""
        for transport in tuple(self._watches):
            self._loop.call_soon_threadsafe(transport.abort)

    def deafen_watches(self) -> None:
        """Every open watch stays open and tells nothing more, for ever; called from any thread."""
        self._loop.call_soon_threadsafe(lambda: self._deaf.update(self._watches))

    async def serve(self, is_serving: threading.Event) -> None:
        self._loop = asyncio.get_running_loop()
        connector = aiohttp.TCPConnector(ssl=self._access.ssl_context() or True, limit=0)
        timeout = aiohttp.ClientTimeout(total=None)
        async with aiohttp.ClientSession(
            connector=connector, timeout=timeout, auto_decompress=False, read_bufsize=2**22
        ) as self._session:
            server = web.Server(self._answer)
            runner = web.ServerRunner(server, shutdown_timeout=0.1)
            await runner.setup()
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            self._write_kubeconfig(int(runner.addresses[0][1]))
            is_serving.set()
            await self._stop.wait()
            await runner.cleanup()

    def stop(self) -> None:
        with contextlib.suppress(RuntimeError):  # it has ended by itself
            self._loop.call_soon_threadsafe(self._stop.set)

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        try:
            return await self._forward(request)
        except aiohttp.ClientConnectionError:  # no server: as if nobody stood in front of it
            if request.transport:
                request.transport.abort()
            return web.Response(status=502)

    async def _forward(self, request: web.BaseRequest) -> web.StreamResponse:
        is_watch = "watch" in request.query
        faults = self.faults
        await self._while_frozen()
        if faults.late_s:
            await asyncio.sleep(faults.late_s)
        is_chosen = not is_watch and self._chance.random() < faults.share
        if is_chosen and faults.refusals:
            return self._refuse(self._chance.choice(faults.refusals))
        body = await request.read()
        headers = {name: value for name, value in request.headers.items() if name.lower() not in _HOP}
        target = URL(f"{self._access.server}{request.raw_path}", encoded=True)
        async with self._session.request(
            request.method, target, data=body or None, headers={**headers, **self._identity}
        ) as far:
            kept = {name: value for name, value in far.headers.items() if name.lower() not in _HOP}
            if is_watch:
                return await self._watch(request, far, kept)
            return await self._relay(request, far, kept, is_short=is_chosen and faults.truncated)

    def _refuse(self, code: int) -> web.Response:
        self.hit += 1
        headers = {"Retry-After": "1"} if code == 429 else {}
        status = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "message": "a fault"}
        return web.json_response(status, status=code, headers=headers)

    async def _relay(
        self, request: web.BaseRequest, far: aiohttp.ClientResponse, headers: dict[str, str], *, is_short: bool
    ) -> web.Response:
        body = await far.read()
        await self._while_frozen()
        if is_short:
            self.hit += 1
            body = body[: len(body) // 2]
        return web.Response(status=far.status, headers=headers, body=body)

    async def _watch(
        self, request: web.BaseRequest, far: aiohttp.ClientResponse, headers: dict[str, str]
    ) -> web.StreamResponse:
        near = web.StreamResponse(status=far.status, headers=headers)
        await near.prepare(request)
        if self.faults.is_expired:
            self.hit += 1
            await near.write(json.dumps({"type": "ERROR", "object": _EXPIRED}).encode() + b"\n")
            return near
        transport = request.transport
        if transport is None:
            return near  # the client has gone already
        self._watches.add(transport)
        lines: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
        reading = asyncio.create_task(_read_lines(far, lines))
        try:
            while line := await self._next_line(lines):
                await self._while_frozen()
                if transport in self._deaf:
                    self.hit += 1
                    await self._stop.wait()
                if self.faults.truncated and self._chance.random() < self.faults.share:
                    self.hit += 1
                    await near.write(line[: len(line) // 2])
                    break
                await near.write(line)
        except ConnectionResetError:
            pass  # the client has gone
        finally:
            reading.cancel()
            self._watches.discard(transport)
        transport.abort()
        return near

    async def _next_line(self, lines: asyncio.Queue[tuple[float, bytes]]) -> bytes:
        """Empty at the end."""
        read_at_s, line = await lines.get()
        await asyncio.sleep(read_at_s + self.faults.watch_late_s - self._loop.time())
        return line

    async def _while_frozen(self) -> None:
        while self.faults.is_frozen:  # noqa: ASYNC110  set from another thread
            await asyncio.sleep(0.05)

    def _write_kubeconfig(self, port: int) -> None:
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "faulty", "cluster": {"server": f"http://127.0.0.1:{port}"}}],
            "users": [{"name": "nobody", "user": {}}],
            "contexts": [{"name": "faulty", "context": {"cluster": "faulty", "user": "nobody"}}],
            "current-context": "faulty",
        }
        self.kubeconfig.write_text(yaml.safe_dump(document))


async def _read_lines(far: aiohttp.ClientResponse, lines: asyncio.Queue[tuple[float, bytes]]) -> None:
    loop = asyncio.get_running_loop()
    try:
        while line := await far.content.readline():
            lines.put_nowait((loop.time(), line))
    except aiohttp.ClientError:
        pass  # the server ended it, which the empty line says too
    lines.put_nowait((loop.time(), b""))


@contextlib.contextmanager
def faulty_api(access: Access, folder: Path, *, user: str = "") -> Iterator[FaultyApi]:
    """Serves in a thread of its own until the block ends; with a user's name, all calls are made for that user."""
    folder.mkdir(exist_ok=True)
    api, is_serving = FaultyApi(access, folder, user), threading.Event()
    thread = threading.Thread(target=lambda: asyncio.run(api.serve(is_serving)), name="faulty-api")
    thread.start()
    try:
        assert is_serving.wait(START_S), "the relay did not start"
        yield api
    finally:
        api.faults = NONE
        api.stop()
        thread.join(START_S)
