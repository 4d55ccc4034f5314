"""A TCP proxy whose connections a test can cut or freeze."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress


class Wire:
    """Frozen connections stay open and carry nothing, as behind a middlebox that forgot them; new ones work."""

    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host, port
        self._writers: set[asyncio.StreamWriter] = set()
        self._pumps: set[asyncio.Task[None]] = set()
        self._thawed: dict[asyncio.StreamWriter, asyncio.Event] = {}
        self.port = 0

    @property
    def open_count(self) -> int:
        return len(self._writers)

    def cut(self) -> None:
        for writer in tuple(self._writers):
            writer.transport.abort()

    def freeze(self) -> int:
        for writer in self._writers:
            self._thawed[writer].clear()
        return len(self._writers)

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.open_connection(self._host, self._port)
        except OSError:
            writer.transport.abort()
            return
        thawed = asyncio.Event()
        thawed.set()
        for end in (writer, far_writer):
            self._writers.add(end)
            self._thawed[end] = thawed
        pumps = [
            asyncio.create_task(self._pump(reader, far_writer, thawed)),
            asyncio.create_task(self._pump(far_reader, writer, thawed)),
        ]
        self._pumps.update(pumps)
        await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        for end in (writer, far_writer):
            self._writers.discard(end)
            self._thawed.pop(end, None)
            end.transport.abort()
        for pump in pumps:
            pump.cancel()
            self._pumps.discard(pump)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, thawed: asyncio.Event) -> None:
        with suppress(OSError, asyncio.CancelledError):
            while data := await reader.read(65536):
                await thawed.wait()
                writer.write(data)
                await writer.drain()


@asynccontextmanager
async def wire_to(host: str, port: int) -> AsyncIterator[Wire]:
    wire = Wire(host, port)
    server = await asyncio.start_server(wire.carry, "127.0.0.1", 0)
    wire.port = server.sockets[0].getsockname()[1]
    try:
        yield wire
    finally:
        server.close()
        wire.cut()
        for pump in tuple(wire._pumps):
            pump.cancel()
        await asyncio.sleep(0)
