"""From an engine's KV events to router events: listens, translates, publishes, and answers for the whole state.

One per worker, all its ranks. Runs in the worker's event loop. The engine numbers its messages; a jump means lost
events. With a replay address they are asked for again; without, nothing is known any more, and the truth is told: the
rank's state is cleared, here and at every router. Owned by the worker shell.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import zmq

from dynamo.events.publisher import EventPublisher
from dynamo.events.sockets import Frames, SubReader
from dynamo.events.translate import RankBlocks
from dynamo.process.logs import EventLog
from dynamo.wire.kv_events import EngineBatch, EventDecodeError, decode_engine_batch
from dynamo.wire.router_events import KvState

JOIN_TIMEOUT_S = 5.0
"""How long a start waits for the engine's publisher; it is local, and up before the engine says it is ready."""
_LOGGED_PROBLEMS_MAX = 20
"""Per rank; a broken engine would repeat itself at every step. The counters go on."""


@dataclass(slots=True)
class RelayCounts:
    """Since the worker's start, over all ranks; the names end in /metrics."""

    messages: int = 0
    events: int = 0
    filtered: int = 0
    unreadable: int = 0
    """Events, or whole messages, that could not be decoded."""
    dropped: int = 0
    """Engine messages that never arrived."""
    gaps: int = 0


class EventRelay:
    """`start`, then it works by itself until `close`."""

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        publisher: EventPublisher,
        log: EventLog,
        *,
        worker_id: int,
        ranks: int,
        endpoints: Sequence[str],
        block_size: int,
    ) -> None:
        """`endpoints`: one per rank, or none when the engine tells nothing; the state then stays empty."""
        self._context = context
        self._endpoints = endpoints
        self.counts = RelayCounts()
        self._ranks = [
            _Rank(rank, RankBlocks(worker_id, rank, block_size), publisher, self.counts, log) for rank in range(ranks)
        ]
        self._readers: list[SubReader] = []

    async def start(self) -> None:
        """Returns when connected to every rank's publisher. Raises TimeoutError, or zmq.ZMQError for a bad address."""
        for rank, endpoint in zip(self._ranks, self._endpoints, strict=False):
            self._readers.append(SubReader(self._context, endpoint, rank.take))
        try:
            async with asyncio.timeout(JOIN_TIMEOUT_S):
                for reader in self._readers:
                    await reader.joined()
        except TimeoutError:
            raise TimeoutError(f"KV events: no publisher answers at {', '.join(self._endpoints)}") from None

    def state(self, dp_rank: int, after: int | None) -> KvState | None:
        """What routers ask for; None: no such rank."""
        return self._ranks[dp_rank].blocks.state(after) if 0 <= dp_rank < len(self._ranks) else None

    @property
    def ranks(self) -> tuple[RankBlocks, ...]:
        return tuple(rank.blocks for rank in self._ranks)

    def close(self) -> None:
        for reader in self._readers:
            reader.close()


class _Rank:
    """One engine socket's messages, in order."""

    def __init__(
        self, dp_rank: int, blocks: RankBlocks, publisher: EventPublisher, counts: RelayCounts, log: EventLog
    ) -> None:
        self.blocks = blocks
        self._dp_rank = dp_rank
        self._publisher = publisher
        self._counts = counts
        self._log = log
        self._next_sequence: int | None = None
        self._logged = 0

    def take(self, frames: Frames) -> None:
        """Never raises for what an engine may send: the relay outlives a broken message."""
        self._counts.messages += 1
        try:
            batch = self._read(frames)
        except EventDecodeError as error:
            self._skip(str(error))
            return
        for reason in batch.rejected:
            self._skip(reason)
        self._counts.events += len(batch.events)
        self._counts.filtered += batch.filtered
        self._publisher.publish_events(self._dp_rank, self.blocks.apply(batch.events))

    def _read(self, frames: Frames) -> EngineBatch:
        if len(frames) != 3 or len(frames[1]) != 8:
            raise EventDecodeError(f"{len(frames)} frames, expected topic, 8-byte sequence, payload")
        self._check_sequence(int.from_bytes(frames[1], "big"))
        batch = decode_engine_batch(frames[2])
        if batch.dp_rank not in (None, self._dp_rank):
            raise EventDecodeError(f"dp_rank: found {batch.dp_rank}, expected {self._dp_rank}")
        return batch

    def _check_sequence(self, sequence: int) -> None:
        """A jump, forward (lost) or back (the engine restarted), voids what we know."""
        expected, self._next_sequence = self._next_sequence, sequence + 1
        if expected is None:
            self._counts.dropped += sequence
        if expected is None or sequence == expected:
            return
        self._counts.gaps += 1
        self._counts.dropped += max(0, sequence - expected)
        self._log.warning("kv_events_gap", dp_rank=self._dp_rank, expected=expected, found=sequence)
        if not self.blocks.is_empty:
            self._publisher.publish_events(self._dp_rank, (self.blocks.clear(),))

    def _skip(self, reason: str) -> None:
        self._counts.unreadable += 1
        self._logged += 1
        if self._logged <= _LOGGED_PROBLEMS_MAX:
            self._log.warning("kv_event_unreadable", dp_rank=self._dp_rank, reason=reason)
