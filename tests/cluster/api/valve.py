"""A TCP relay before the API server that can be shut (connections refused) or let what is open go silent."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import yaml

from tests.cluster.access import Access


class Valve:
    """`env` leads through it."""

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._is_shut = False
        self._silenced: set[asyncio.StreamWriter] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.env: dict[str, str] = {}

    @classmethod
    @contextlib.asynccontextmanager
    async def before(cls, access: Access, folder: Path) -> AsyncIterator[Valve]:
        url = urlsplit(access.url)
        valve = cls(url.hostname or "", url.port or 443)
        server = await asyncio.start_server(valve._relay, "127.0.0.1", 0)
        document = yaml.safe_load(access.kubeconfig.read_text())
        document["clusters"][0]["cluster"]["server"] = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        (folder / "valve.yaml").write_text(yaml.safe_dump(document))
        valve.env = {"KUBECONFIG": str(folder / "valve.yaml")}
        try:
            yield valve
        finally:
            server.close()
            valve.shut()
            for task in valve._tasks:
                task.cancel()
            await asyncio.gather(*valve._tasks, return_exceptions=True)

    def shut(self) -> None:
        """Cuts every connection and refuses new ones."""
        self._is_shut = True
        for writer in tuple(self._writers):
            writer.transport.abort()

    def open(self) -> None:
        self._is_shut = False

    def stall(self) -> None:
        """What is open stays open and says nothing any more; new connections work."""
        self._silenced |= self._writers

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        if self._is_shut:
            writer.transport.abort()
            return
        try:
            far_reader, far_writer = await asyncio.open_connection(*self._target)
            self._writers |= {writer, far_writer}
            await asyncio.gather(self._pump(reader, far_writer), self._pump(far_reader, writer))
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            for one in (writer, far_writer):
                self._writers.discard(one)
                one.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            if writer in self._silenced:
                await asyncio.Event().wait()
            writer.write(data)
            await writer.drain()
