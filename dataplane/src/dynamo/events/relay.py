"""From an engine's KV events to router events: listens, translates, publishes, and answers for the whole state.

One per worker, all its ranks. Runs in the worker's event loop. The engine numbers its messages; a jump means lost
events. With a replay address they are asked for again; without, nothing is known any more, and the truth is told: the
rank's state is cleared, here and at every router. Owned by the worker shell.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import zmq

from dynamo.events.publisher import EventPublisher
from dynamo.events.sockets import Context, Frames, SocketReader, SubReader, connect_dealer
from dynamo.events.translate import RankBlocks
from dynamo.process.logs import EventLog
from dynamo.wire.kv_events import EventDecodeError, decode_engine_batch
from dynamo.wire.router_events import KvState

JOIN_TIMEOUT_S = 5.0
"""How long a start waits for the engine's publisher; it is local, and up before the engine says it is ready."""
REPLAY_TIMEOUT_S = 2.0
_REPLAY_END = (1 << 64) - 1
"""The sequence -1 as u64."""
_WAITING_MESSAGES_MAX = 10_000
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
        context: Context,
        publisher: EventPublisher,
        log: EventLog,
        *,
        worker_id: int,
        ranks: int,
        endpoints: Sequence[str],
        replay_endpoints: Sequence[str] = (),
        block_size: int,
    ) -> None:
        """`endpoints`: one per rank, or none when the engine tells nothing; the state then stays empty."""
        self._context = context
        self._endpoints = endpoints
        self._replay_endpoints = replay_endpoints
        self.counts = RelayCounts()
        self._ranks = [
            _Rank(rank, RankBlocks(worker_id, rank, block_size), publisher, self.counts, log) for rank in range(ranks)
        ]
        self._readers: list[SubReader] = []

    async def start(self) -> None:
        """Returns when connected to every rank's publisher. Raises TimeoutError, or zmq.ZMQError for a bad address."""
        for rank, endpoint in zip(self._ranks, self._endpoints, strict=False):
            self._readers.append(SubReader(self._context, endpoint, rank.take))
        for rank, endpoint in zip(self._ranks, self._replay_endpoints, strict=False):
            rank.use_replay(connect_dealer(self._context, endpoint, rank.take_replayed))
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
        for rank in self._ranks:
            rank.close()


class _Rank:
    """One engine socket's messages, in order: applied, or held back while lost ones are asked for."""

    def __init__(
        self, dp_rank: int, blocks: RankBlocks, publisher: EventPublisher, counts: RelayCounts, log: EventLog
    ) -> None:
        self.blocks = blocks
        self._dp_rank = dp_rank
        self._publisher = publisher
        self._counts = counts
        self._log = log
        self._next_sequence = 0
        self._waiting: deque[tuple[int, bytes]] = deque(maxlen=_WAITING_MESSAGES_MAX)
        self._replay: SocketReader | None = None
        self._replay_deadline: asyncio.TimerHandle | None = None
        """Set while a replay is awaited."""
        self._logged = 0

    def use_replay(self, replay: SocketReader) -> None:
        self._replay = replay

    def close(self) -> None:
        if self._replay_deadline is not None:
            self._replay_deadline.cancel()
        if self._replay is not None:
            self._replay.close()

    def take(self, frames: Frames) -> None:
        """A live message. Never raises for what an engine may send: the relay outlives a broken message."""
        self._counts.messages += 1
        if len(frames) != 3 or len(frames[1]) != 8:
            self._skip(f"{len(frames)} frames, expected topic, 8-byte sequence, payload")
            return
        sequence, payload = int.from_bytes(frames[1], "big"), frames[2]
        if self._replay_deadline is not None:
            self._waiting.append((sequence, payload))
            return
        if sequence < self._next_sequence:
            self._lose(0, "engine_restarted")
        if sequence > self._next_sequence:
            if self._ask_replay():
                self._waiting.append((sequence, payload))
                return
            self._lose(sequence, "messages_lost")
        self._apply(sequence, payload)

    def take_replayed(self, frames: Frames) -> None:
        """An answer to our request: old and new engines agree on the last two frames, sequence and payload."""
        if self._replay_deadline is None:
            return
        sequence = int.from_bytes(frames[-2], "big") if len(frames) >= 2 else _REPLAY_END
        if sequence == _REPLAY_END:
            self._end_replay()
        elif sequence >= self._next_sequence:
            if sequence > self._next_sequence:
                self._lose(sequence, "replay_began_late")
            self._apply(sequence, frames[-1])

    def _ask_replay(self) -> bool:
        if self._replay is None:
            return False
        try:
            self._replay.send([b"", self._next_sequence.to_bytes(8, "big")])
        except zmq.Again:
            return False
        self._replay_deadline = asyncio.get_running_loop().call_later(REPLAY_TIMEOUT_S, self._end_replay)
        self._log.info("kv_events_replay", dp_rank=self._dp_rank, after=self._next_sequence - 1)
        return True

    def _end_replay(self) -> None:
        """Everything came, or nothing more will."""
        if self._replay_deadline is not None:
            self._replay_deadline.cancel()
            self._replay_deadline = None
        waiting = tuple(self._waiting)
        self._waiting.clear()
        for sequence, payload in waiting:
            if sequence > self._next_sequence:
                self._lose(sequence, "replay_incomplete")
            if sequence == self._next_sequence:
                self._apply(sequence, payload)

    def _lose(self, sequence: int, reason: str) -> None:
        """What happened before `sequence` will never be known, so what is held is not either."""
        self._counts.gaps += 1
        self._counts.dropped += max(0, sequence - self._next_sequence)
        self._log.warning(
            "kv_events_gap", dp_rank=self._dp_rank, reason=reason, expected=self._next_sequence, found=sequence
        )
        self._next_sequence = sequence
        if not self.blocks.is_empty:
            self._publisher.publish_events(self._dp_rank, (self.blocks.clear(),))

    def _apply(self, sequence: int, payload: bytes) -> None:
        self._next_sequence = sequence + 1
        try:
            batch = decode_engine_batch(payload)
        except EventDecodeError as error:
            self._skip(str(error))
            return
        if batch.dp_rank not in (None, self._dp_rank):
            self._skip(f"dp_rank: found {batch.dp_rank}, expected {self._dp_rank}")
            return
        for reason in batch.rejected:
            self._skip(reason)
        self._counts.events += len(batch.events)
        self._counts.filtered += batch.filtered
        self._publisher.publish_events(self._dp_rank, self.blocks.apply(batch.events))

    def _skip(self, reason: str) -> None:
        self._counts.unreadable += 1
        self._logged += 1
        if self._logged <= _LOGGED_PROBLEMS_MAX:
            self._log.warning("kv_event_unreadable", dp_rank=self._dp_rank, reason=reason)
