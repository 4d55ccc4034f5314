"""Tells routers what a worker's ranks have cached and how loaded they are: one ZMQ PUB socket per worker.

Frames: topic, publisher id (the worker's id, u64 BE), sequence (u64 BE, over all topics), payload of
`wire.router_events`. A subscriber that is slow or absent loses messages, which the sequence shows. Owned by the worker
shell.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence

import zmq

from dynamo.events.sockets import Context, bind_publisher
from dynamo.wire.router_events import KV_TOPIC, LOAD_TOPIC, Cleared, KvBatch, KvEvent, Load, encode

BATCH_EVENTS_MAX = 128
BATCH_BLOCKS_MAX = 8192

_u64 = struct.Struct(">Q").pack


class EventPublisher:
    """Sends in call order, at once, without blocking."""

    def __init__(self, context: Context, worker_id: int, host: str) -> None:
        """Binds a free port of `host`, an address or `*`. Raises zmq.ZMQError."""
        self._worker_id = worker_id
        self._publisher_id = _u64(worker_id)
        self._socket, self.port = bind_publisher(context, host)
        self._sequence = 0
        self.sent_events = 0

    def publish_events(self, dp_rank: int, events: Sequence[KvEvent]) -> None:
        for batch in batches(events):
            self._send(KV_TOPIC, encode(KvBatch(self._worker_id, dp_rank, batch)))
            self.sent_events += len(batch)

    def publish_load(self, load: Load) -> None:
        self._send(LOAD_TOPIC, encode(load))

    def close(self) -> None:
        self._socket.close()

    def _send(self, topic: bytes, payload: bytes) -> None:
        self._socket.send_multipart([topic, self._publisher_id, _u64(self._sequence), payload], zmq.NOBLOCK)
        self._sequence += 1


def batches(events: Sequence[KvEvent]) -> Iterator[tuple[KvEvent, ...]]:
    """Cuts into runs of at most 128 events and 8,192 blocks; an event that is larger alone travels alone."""
    batch: list[KvEvent] = []
    blocks = 0
    for event in events:
        size = 0 if isinstance(event, Cleared) else len(event.hashes) // 8
        if batch and (len(batch) == BATCH_EVENTS_MAX or blocks + size > BATCH_BLOCKS_MAX):
            yield tuple(batch)
            batch, blocks = [], 0
        batch.append(event)
        blocks += size
    if batch:
        yield tuple(batch)
