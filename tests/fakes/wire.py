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
        self._carries: set[asyncio.Task[None]] = set()
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
        carrying = asyncio.current_task()
        assert carrying
        self._carries.add(carrying)
        try:
            await self._carry(reader, writer)
        finally:
            writer.transport.abort()
            self._carries.discard(carrying)

    async def end(self) -> None:
        """Closes every connection, also one that is being opened."""
        for carrying in (carries := tuple(self._carries)):
            carrying.cancel()
        await asyncio.gather(*carries, return_exceptions=True)
        await asyncio.sleep(0)  # Aborted transports close their sockets in the loop's next turn.

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.open_connection(self._host, self._port)
        except OSError:
            return
        thawed = asyncio.Event()
        thawed.set()
        ends = (writer, far_writer)
        self._writers.update(ends)
        self._thawed.update(dict.fromkeys(ends, thawed))
        pumps = [
            asyncio.create_task(self._pump(reader, far_writer, thawed)),
            asyncio.create_task(self._pump(far_reader, writer, thawed)),
        ]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for end in ends:
                self._writers.discard(end)
                self._thawed.pop(end, None)
            far_writer.transport.abort()
            for pump in pumps:
                pump.cancel()

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
        await wire.end()
