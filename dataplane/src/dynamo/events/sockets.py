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

_log = logging.getLogger(__name__)


class SubReader:
    """A SUB socket connected to one publisher; calls `on_message` for each message, in order."""

    def __init__(
        self, context: zmq.Context[zmq.Socket[bytes]], address: str, on_message: Callable[[Frames], None]
    ) -> None:
        """Starts at once; needs a running loop. Raises zmq.ZMQError for an address that cannot be."""
        self._on_message = on_message
        self._loop = asyncio.get_running_loop()
        self._socket = context.socket(zmq.SUB)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.setsockopt(zmq.RCVHWM, QUEUED_MESSAGES_MAX)
        self._socket.setsockopt(zmq.MAXMSGSIZE, MESSAGE_BYTES_MAX)
        self._socket.setsockopt(zmq.IPV6, 1)
        # A publisher that comes back is there again within a second, not after libzmq's growing pauses.
        self._socket.setsockopt(zmq.RECONNECT_IVL, 100)
        self._socket.setsockopt(zmq.RECONNECT_IVL_MAX, 1000)
        self._socket.setsockopt(zmq.SUBSCRIBE, b"")
        self._monitor = self._socket.get_monitor_socket(zmq.EVENT_HANDSHAKE_SUCCEEDED)
        self._is_open = True
        try:
            self._socket.connect(address)
        except zmq.ZMQError:
            self._close_sockets()
            raise
        self._joined = asyncio.Event()
        self._fd = int(self._socket.getsockopt(zmq.FD))
        self._monitor_fd = int(self._monitor.getsockopt(zmq.FD))
        self._loop.add_reader(self._fd, self._drain)
        self._loop.add_reader(self._monitor_fd, self._note_handshake)
        self._loop.call_soon(self._drain)
        self._loop.call_soon(self._note_handshake)

    async def joined(self) -> None:
        """Returns when the publisher has answered; the subscription follows on the same connection at once."""
        await self._joined.wait()

    def close(self) -> None:
        if self._is_open:
            self._is_open = False
            self._loop.remove_reader(self._fd)
            self._loop.remove_reader(self._monitor_fd)
            self._close_sockets()

    def _close_sockets(self) -> None:
        self._socket.disable_monitor()
        self._monitor.close()
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

    def _note_handshake(self) -> None:
        while self._is_open:
            try:
                self._monitor.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            self._joined.set()


def bind_publisher(context: zmq.Context[zmq.Socket[bytes]], host: str) -> tuple[zmq.Socket[bytes], int]:
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
