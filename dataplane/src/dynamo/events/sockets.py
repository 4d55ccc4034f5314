"""ZMQ sockets read through the event loop's file-descriptor watcher: no thread, no task, no awaits per message.

Only carries frames; what they mean is the caller's matter. Used by the event relay (engine side) and by the feed
(router side).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

import zmq

MESSAGE_BYTES_MAX = 64 << 20
"""A peer that sends more is cut off. A batch of 8,192 blocks with their tokens is about 2 MiB."""
QUEUED_MESSAGES_MAX = 20_000
"""What is beyond this is lost, and noticed by its sequence number."""
_READS_PER_TURN = 64
"""Messages handled before other callbacks of the loop get their turn."""

Frames = list[bytes]
Context = zmq.Context[zmq.Socket[bytes]]

_log = logging.getLogger(__name__)


class SocketReader:
    """Calls `on_message` for each message of a socket, in order; owns the socket."""

    def __init__(self, socket: zmq.Socket[bytes], on_message: Callable[[Frames], None]) -> None:
        """Needs a running loop."""
        self._socket = socket
        self._on_message = on_message
        self._loop = asyncio.get_running_loop()
        self._is_open = True
        self._fd = int(socket.getsockopt(zmq.FD))
        self._loop.add_reader(self._fd, self._drain)
        self._loop.call_soon(self._drain)

    def send(self, frames: Frames) -> None:
        """Raises zmq.Again when the peer does not take it now."""
        self._socket.send_multipart(frames, zmq.NOBLOCK)
        # Sending may swallow the edge that announces an answer.
        self._loop.call_soon(self._drain)

    def close(self) -> None:
        if self._is_open:
            self._is_open = False
            self._loop.remove_reader(self._fd)
            self._socket.close()

    def _drain(self) -> None:
        # The descriptor is edge-triggered: read until there is nothing, or come back without waiting for an edge.
        for _ in range(_READS_PER_TURN):
            if not self._is_open:
                return
            try:
                frames = self._socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            try:
                self._on_message(frames)
            except Exception:
                # On purpose: without this, one bad message would leave all later ones unread.
                _log.exception("message of %d frames not handled", len(frames))
        self._loop.call_soon(self._drain)


class SubReader:
    """A SUB socket connected to one publisher; calls `on_message` for each message, in order."""

    def __init__(self, context: Context, address: str, on_message: Callable[[Frames], None]) -> None:
        """Starts at once; needs a running loop. Raises zmq.ZMQError for an address that cannot be."""
        socket = context.socket(zmq.SUB)
        _prepare(socket)
        socket.setsockopt(zmq.SUBSCRIBE, b"")
        monitor = socket.get_monitor_socket(zmq.EVENT_HANDSHAKE_SUCCEEDED)
        try:
            socket.connect(address)
        except zmq.ZMQError:
            socket.disable_monitor()
            monitor.close()
            socket.close()
            raise
        self._socket = socket
        self._joined = asyncio.Event()
        self._monitor = SocketReader(monitor, lambda _: self._joined.set())
        self._reader = SocketReader(socket, on_message)

    async def joined(self) -> None:
        """Returns when the publisher has answered; the subscription follows on the same connection at once."""
        await self._joined.wait()

    def close(self) -> None:
        if not self._socket.closed:
            self._socket.disable_monitor()
        self._monitor.close()
        self._reader.close()


def connect_dealer(context: Context, address: str, on_message: Callable[[Frames], None]) -> SocketReader:
    """For asking a ROUTER. Raises zmq.ZMQError for an address that cannot be."""
    socket = context.socket(zmq.DEALER)
    _prepare(socket)
    try:
        socket.connect(address)
    except zmq.ZMQError:
        socket.close()
        raise
    return SocketReader(socket, on_message)


def _prepare(socket: zmq.Socket[bytes]) -> None:
    socket.setsockopt(zmq.LINGER, 0)
    socket.setsockopt(zmq.RCVHWM, QUEUED_MESSAGES_MAX)
    socket.setsockopt(zmq.MAXMSGSIZE, MESSAGE_BYTES_MAX)
    socket.setsockopt(zmq.IPV6, 1)
    # A peer that comes back is there again within a second, not after libzmq's growing pauses.
    socket.setsockopt(zmq.RECONNECT_IVL, 100)
    socket.setsockopt(zmq.RECONNECT_IVL_MAX, 1000)


def bind_publisher(context: Context, host: str) -> tuple[zmq.Socket[bytes], int]:
    """A PUB socket on a free port of `host` (an address, or `*`), and the port. It drops, never blocks, when full."""
    socket = context.socket(zmq.PUB)
    try:
        socket.setsockopt(zmq.LINGER, 0)
        socket.setsockopt(zmq.SNDHWM, QUEUED_MESSAGES_MAX)
        if ":" in host:
            socket.setsockopt(zmq.IPV6, 1)
            host = f"[{host}]"
        socket.bind(f"tcp://{host}:*")
    except zmq.ZMQError:
        socket.close()
        raise
    endpoint = socket.getsockopt(zmq.LAST_ENDPOINT)
    assert isinstance(endpoint, bytes)
    return socket, int(endpoint.rstrip(b"\0").rpartition(b":")[2])
