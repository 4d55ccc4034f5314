"""One worker's event stream as a router sees it: frames in, sink calls out, and which ranks must be fetched anew.

No sockets and no clock: the feed brings frames and fetched states. Nothing a worker sends raises; what cannot be read
makes the worker's ranks suspect, and they are fetched.
"""

from __future__ import annotations

from dataclasses import dataclass

from dynamo.events.continuity import RankContinuity, Step
from dynamo.events.ports import KvSink
from dynamo.wire.cards import WorkerCard
from dynamo.wire.router_events import (
    KV_TOPIC,
    LOAD_TOPIC,
    Cleared,
    EventError,
    KvState,
    Stored,
    decode_batch,
    decode_load,
    unpack_hashes,
)


@dataclass(slots=True)
class FeedCounts:
    """Since the feed's start, over all workers."""

    messages: int = 0
    events: int = 0
    unreadable: int = 0
    foreign: int = 0
    """Messages of a worker other than the card says, e.g. an address taken over by the next process."""
    gaps: int = 0
    recoveries: int = 0
    failed_fetches: int = 0


class WorkerEvents:
    """Follows one worker's ranks."""

    def __init__(self, card: WorkerCard, sink: KvSink, counts: FeedCounts) -> None:
        self.card = card
        self._sink = sink
        self._counts = counts
        self._ranks = [RankContinuity() for _ in range(card.data_parallel_size)]
        self._last_sequence: int | None = None

    @property
    def behind(self) -> tuple[tuple[int, int | None], ...]:
        """(rank, fetch events after this id, or everything if None) of each rank that must be fetched."""
        return tuple((index, rank.after) for index, rank in enumerate(self._ranks) if rank.is_behind)

    def take(self, frames: list[bytes]) -> None:
        self._counts.messages += 1
        try:
            self._take(frames)
        except EventError:
            self._counts.unreadable += 1
            self._suspect_all()

    def fetched(self, dp_rank: int, state: KvState) -> None:
        """Raises EventError when the state's hashes cannot be read; the rank stays behind."""
        self._counts.recoveries += 1
        self._do(dp_rank, self._ranks[dp_rank].fetched(state))

    def forget(self) -> None:
        """What is known of the ranks that are behind is too old to be used."""
        for dp_rank, _ in self.behind:
            self._ranks[dp_rank].reset()
            self._sink.clear(self.card.worker_id, dp_rank)

    def _take(self, frames: list[bytes]) -> None:
        if len(frames) != 4 or len(frames[1]) != 8 or len(frames[2]) != 8:
            raise EventError(f"{len(frames)} frames, expected topic, publisher, sequence, payload")
        topic, publisher, sequence, payload = frames
        if int.from_bytes(publisher, "big") != self.card.worker_id:
            self._counts.foreign += 1
            return
        self._follow_sequence(int.from_bytes(sequence, "big"))
        if topic == KV_TOPIC:
            batch = decode_batch(payload)
            self._check_origin(batch.worker_id, batch.dp_rank)
            self._counts.events += len(batch.events)
            was_behind = self._ranks[batch.dp_rank].is_behind
            self._do(batch.dp_rank, self._ranks[batch.dp_rank].offer(batch.events))
            self._counts.gaps += self._ranks[batch.dp_rank].is_behind and not was_behind
        elif topic == LOAD_TOPIC:
            load = decode_load(payload)
            self._check_origin(load.worker_id, load.dp_rank)
            self._sink.apply_load(load)

    def _follow_sequence(self, sequence: int) -> None:
        """The first message proves that the subscription works; only from then on is nothing lost unnoticed."""
        last, self._last_sequence = self._last_sequence, sequence
        if last is None or sequence != last + 1:
            self._counts.gaps += last is not None
            self._suspect_all()

    def _check_origin(self, worker_id: int, dp_rank: int) -> None:
        if worker_id != self.card.worker_id or not 0 <= dp_rank < len(self._ranks):
            raise EventError(f"worker {worker_id:x} rank {dp_rank} in a message of {self.card.hex_id}")

    def _suspect_all(self) -> None:
        for rank in self._ranks:
            rank.suspect()

    def _do(self, dp_rank: int, step: Step) -> None:
        worker_id = self.card.worker_id
        try:
            if step.replace is not None:
                tiers = {tier: unpack_hashes(packed) for tier, packed in step.replace.items()}
                self._sink.replace(worker_id, dp_rank, tiers)
            for event in step.apply:
                if isinstance(event, Cleared):
                    self._sink.clear(worker_id, dp_rank)
                elif isinstance(event, Stored):
                    self._sink.store(worker_id, dp_rank, unpack_hashes(event.hashes), event.tier)
                else:
                    self._sink.remove(worker_id, dp_rank, unpack_hashes(event.hashes), event.tier)
        except EventError:
            # The step was half done: only everything anew is right again.
            self._ranks[dp_rank].reset()
            raise
