"""A subscriber ends with the worker's state whatever the network loses, repeats or delays."""

from __future__ import annotations

import random
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dynamo.events import continuity
from dynamo.events.continuity import RankContinuity
from dynamo.events.publisher import BATCH_BLOCKS_MAX, BATCH_EVENTS_MAX, batches
from dynamo.events.subscriber import FeedCounts, WorkerEvents
from dynamo.events.translate import RankBlocks
from dynamo.wire.kv_events import AllCleared, BlocksRemoved, BlocksStored
from dynamo.wire.router_events import (
    KV_TOPIC,
    LOAD_TOPIC,
    Cleared,
    Hashes,
    KvBatch,
    KvEvent,
    KvState,
    Load,
    Stored,
    Tier,
    encode,
    pack_hashes,
    unpack_hashes,
)
from tests.contract.test_discovery import a_card

WORKER = 1


def an_event(event_id: int, *hashes: int) -> Stored:
    return Stored(event_id, pack_hashes(np.array(hashes or (event_id,), dtype=np.uint64)))


def ids(events: tuple[KvEvent, ...]) -> list[int]:
    return [event.event_id for event in events]


class Sink:
    """A router's picture, plainly."""

    def __init__(self) -> None:
        self.held: dict[tuple[int, int], dict[Tier, set[int]]] = {}
        self.loads: list[Load] = []
        self.dropped: list[int] = []

    def store(self, worker_id: int, dp_rank: int, hashes: Hashes, tier: Tier) -> None:
        self.held.setdefault((worker_id, dp_rank), {}).setdefault(tier, set()).update(hashes.tolist())

    def remove(self, worker_id: int, dp_rank: int, hashes: Hashes, tier: Tier) -> None:
        self.held.setdefault((worker_id, dp_rank), {}).setdefault(tier, set()).difference_update(hashes.tolist())

    def clear(self, worker_id: int, dp_rank: int) -> None:
        self.held[worker_id, dp_rank] = {}

    def replace(self, worker_id: int, dp_rank: int, tiers: dict[Tier, Hashes]) -> None:
        self.held[worker_id, dp_rank] = {tier: set(hashes.tolist()) for tier, hashes in tiers.items()}

    def drop(self, worker_id: int) -> None:
        self.dropped.append(worker_id)

    def apply_load(self, load: Load) -> None:
        self.loads.append(load)

    def content(self, worker_id: int = WORKER, dp_rank: int = 0) -> dict[Tier, set[int]]:
        return {tier: held for tier, held in self.held.get((worker_id, dp_rank), {}).items() if held}


def a_subscriber(sink: Sink, **changes: object) -> WorkerEvents:
    return WorkerEvents(a_card(WORKER, **changes), sink, FeedCounts())


def frames(sequence: int, payload: bytes, topic: bytes = KV_TOPIC, publisher: int = WORKER) -> list[bytes]:
    return [topic, struct.pack(">Q", publisher), struct.pack(">Q", sequence), payload]


def a_batch(*events: KvEvent, dp_rank: int = 0, worker_id: int = WORKER) -> bytes:
    return encode(KvBatch(worker_id, dp_rank, events))


def a_synced(last_id: int = 4) -> RankContinuity:
    rank = RankContinuity()
    rank.fetched(KvState(WORKER, 0, last_id, {}))
    return rank


def test_new_rank_asks_for_everything() -> None:
    rank = RankContinuity()
    assert (rank.is_behind, rank.after) == (True, None)


def test_events_in_order_pass_and_old_ones_do_not() -> None:
    rank = a_synced(4)
    assert ids(rank.offer([an_event(3), an_event(4), an_event(5), an_event(5), an_event(6)]).apply) == [5, 6]
    assert not rank.is_behind


def test_gap_asks_from_the_last_known_event() -> None:
    rank = a_synced(4)
    step = rank.offer([an_event(5), an_event(8), an_event(9)])

    assert ids(step.apply) == [5]
    assert (rank.is_behind, rank.after) == (True, 5)
    assert ids(rank.fetched(KvState(WORKER, 0, 7, None, (an_event(6), an_event(7)))).apply) == [6, 7, 8, 9]
    assert not rank.is_behind


def test_full_answer_replaces_and_waiting_events_follow() -> None:
    rank = a_synced(4)
    rank.offer([an_event(8), an_event(9)])
    step = rank.fetched(KvState(WORKER, 0, 8, {Tier.DEVICE: b""}))

    assert step.replace == {Tier.DEVICE: b""}
    assert ids(step.apply) == [9]


def test_answer_older_than_the_gap_leaves_the_rank_behind() -> None:
    rank = a_synced(4)
    rank.offer([an_event(8)])
    rank.fetched(KvState(WORKER, 0, 6, {}))

    assert (rank.is_behind, rank.after) == (True, 6)
    assert ids(rank.fetched(KvState(WORKER, 0, 7, None, (an_event(7),))).apply) == [7, 8]


def test_answer_that_fits_nothing_asks_for_everything() -> None:
    rank = a_synced(4)
    rank.suspect()
    step = rank.fetched(KvState(WORKER, 0, 9, None, (an_event(8), an_event(9))))

    assert step.apply == ()
    assert (rank.is_behind, rank.after) == (True, None)


def test_waiting_events_are_bounded() -> None:
    rank = RankContinuity()
    rank.offer([an_event(n) for n in range(continuity.WAITING_EVENTS_MAX + 10)])
    rank.fetched(KvState(WORKER, 0, 3, {}))

    assert (rank.is_behind, rank.after) == (True, 3)


def test_first_message_makes_ranks_catch_up_once() -> None:
    subscriber = a_subscriber(Sink())
    subscriber.fetched(0, KvState(WORKER, 0, -1, {}))
    assert subscriber.behind == ()

    subscriber.take(frames(7, encode(Load(WORKER, 0, 1, 2, 3)), LOAD_TOPIC))
    assert subscriber.behind == ((0, -1),)

    subscriber.fetched(0, KvState(WORKER, 0, -1, None))
    subscriber.take(frames(8, encode(Load(WORKER, 0, 1, 2, 3)), LOAD_TOPIC))
    assert subscriber.behind == ()


def test_lost_last_event_shows_at_the_next_load_report() -> None:
    sink = Sink()
    subscriber = a_subscriber(sink)
    subscriber.take(frames(0, a_batch(an_event(0))))
    subscriber.fetched(0, KvState(WORKER, 0, 0, {}))
    subscriber.take(frames(2, encode(Load(WORKER, 0, 1, 2, 3)), LOAD_TOPIC))

    assert subscriber.behind == ((0, 0),)
    assert sink.loads == [Load(WORKER, 0, 1, 2, 3)]


@pytest.mark.parametrize(
    "message",
    [
        pytest.param([], id="no-frames"),
        pytest.param([b"kv-events"], id="one-frame"),
        pytest.param([KV_TOPIC, b"1", b"2", b""], id="short-numbers"),
        pytest.param(frames(1, b"\xc1"), id="no-msgpack"),
        pytest.param(frames(1, a_batch(an_event(0), dp_rank=7)), id="rank-out-of-range"),
        pytest.param(frames(1, a_batch(an_event(0), dp_rank=-1)), id="negative-rank"),
        pytest.param(frames(1, a_batch(an_event(0), worker_id=9)), id="another-worker"),
        pytest.param(frames(1, a_batch(Stored(0, b"123"))), id="broken-hashes"),
    ],
)
def test_unreadable_message_makes_ranks_suspect_and_raises_nothing(message: list[bytes]) -> None:
    counts = FeedCounts()
    subscriber = WorkerEvents(a_card(WORKER), Sink(), counts)
    subscriber.take(frames(0, a_batch()))
    subscriber.fetched(0, KvState(WORKER, 0, -1, {}))

    subscriber.take(message)

    assert counts.unreadable == 1
    assert len(subscriber.behind) == 1


def test_messages_of_another_process_are_ignored() -> None:
    sink, counts = Sink(), FeedCounts()
    subscriber = WorkerEvents(a_card(WORKER), sink, counts)
    subscriber.fetched(0, KvState(WORKER, 0, -1, {}))
    subscriber.take(frames(0, a_batch(an_event(0), worker_id=9), publisher=9))

    assert (counts.foreign, subscriber.behind, sink.content()) == (1, (), {})


def test_forgetting_clears_only_ranks_behind() -> None:
    sink = Sink()
    subscriber = a_subscriber(sink, data_parallel_size=2)
    for rank in (0, 1):
        subscriber.fetched(rank, KvState(WORKER, rank, 0, {Tier.DEVICE: pack_hashes(np.array([5], dtype=np.uint64))}))
    subscriber.take(frames(0, a_batch(dp_rank=0)))
    subscriber.fetched(1, KvState(WORKER, 1, 0, None))
    subscriber.forget()

    assert sink.content(dp_rank=0) == {}
    assert sink.content(dp_rank=1) == {Tier.DEVICE: {5}}


def test_batches_keep_the_limits_and_the_order() -> None:
    small = [an_event(n) for n in range(BATCH_EVENTS_MAX + 1)]
    assert [len(batch) for batch in batches(small)] == [BATCH_EVENTS_MAX, 1]

    big = Stored(1, bytes(8 * (BATCH_BLOCKS_MAX + 1)))
    assert [ids(batch) for batch in batches([an_event(0), big, Cleared(2)])] == [[0], [1], [2]]
    assert list(batches([])) == []


@settings(max_examples=100, deadline=None)
@given(st.randoms(use_true_random=False), st.integers(0, 40), st.integers(0, 40))
def test_state_is_the_workers_after_any_losses(rng: random.Random, loss_percent: int, steps: int) -> None:
    worker = RankBlocks(WORKER, 0, block_size=1)
    sink = Sink()
    subscriber = a_subscriber(sink)
    sequence = 0
    for _ in range(steps):
        handle = rng.randrange(12)
        events = worker.apply(
            rng.choice(
                [
                    [BlocksStored((handle,), None, (handle,), 1, rng.choice([Tier.DEVICE, Tier.HOST]), plain_blocks=1)],
                    [BlocksRemoved((handle,), Tier.DEVICE)],
                    [AllCleared()] if rng.random() < 0.1 else [],
                ]
            )
        )
        message = frames(sequence, encode(KvBatch(WORKER, 0, events)))
        sequence += 1
        if rng.randrange(100) >= loss_percent:
            subscriber.take(message)
        if rng.random() < 0.3:
            _fetch_all(subscriber, worker)
    subscriber.take(frames(sequence, encode(Load(WORKER, 0, 0, 0, 0)), LOAD_TOPIC))
    for _ in range(3):
        _fetch_all(subscriber, worker)

    assert subscriber.behind == ()
    tiers = worker.state(None).tiers
    assert tiers is not None
    assert sink.content() == {tier: set(unpack_hashes(packed).tolist()) for tier, packed in tiers.items()}


def _fetch_all(subscriber: WorkerEvents, worker: RankBlocks) -> None:
    for rank, after in subscriber.behind:
        subscriber.fetched(rank, worker.state(after))
