"""A rank's state after any engine events equals what a plain model says; routers that follow agree with it."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dynamo.events import translate
from dynamo.events.translate import RankBlocks
from dynamo.wire.blocks import block_hashes, sequence_hashes
from dynamo.wire.kv_events import AllCleared, BlocksRemoved, BlocksStored, EngineEvent
from dynamo.wire.router_events import Cleared, KvEvent, KvState, Removed, Stored, Tier, unpack_hashes

BLOCK = 4


def tokens_of(handle: int) -> list[int]:
    return [handle * BLOCK + i for i in range(BLOCK)]


def a_stored(*handles: int, parent: int | None = None, tier: Tier = Tier.DEVICE, **changes: object) -> BlocksStored:
    settings_: dict[str, object] = {
        "handles": handles,
        "parent": parent,
        "token_ids": [token for handle in handles for token in tokens_of(handle)],
        "block_size": BLOCK,
        "tier": tier,
        "plain_blocks": len(handles),
        **changes,
    }
    return BlocksStored(**settings_)  # type: ignore[arg-type]


def a_removed(*handles: int, tier: Tier = Tier.DEVICE) -> BlocksRemoved:
    return BlocksRemoved(handles, tier)


def a_rank() -> RankBlocks:
    return RankBlocks(worker_id=1, dp_rank=0, block_size=BLOCK)


def names(*handles: int, **seeds: str) -> list[int]:
    tokens = [token for handle in handles for token in tokens_of(handle)]
    found: list[int] = sequence_hashes(block_hashes(tokens, BLOCK, **seeds)).tolist()
    return found


def hashes(event: KvEvent) -> list[int]:
    assert not isinstance(event, Cleared)
    found: list[int] = unpack_hashes(event.hashes).tolist()
    return found


def content(state: KvState) -> dict[Tier, set[int]]:
    assert state.tiers is not None
    return {tier: set(unpack_hashes(packed).tolist()) for tier, packed in state.tiers.items()}


def test_chain_continues_over_events() -> None:
    rank = a_rank()
    first = rank.apply([a_stored(1, 2)])
    second = rank.apply([a_stored(3, parent=2)])

    assert hashes(first[0]) == names(1, 2)
    assert hashes(second[0]) == names(1, 2, 3)[2:]
    assert [event.event_id for event in (*first, *second)] == [0, 1]


def test_adjacent_stores_are_told_as_one() -> None:
    told = a_rank().apply([a_stored(1), a_stored(2, parent=1), a_removed(2), a_removed(1), a_stored(1)])

    assert [type(event) for event in told] == [Stored, Removed, Stored]
    assert hashes(told[0]) == names(1, 2)
    assert hashes(told[1]) == names(1, 2)[::-1]


def test_large_runs_are_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(translate, "EVENT_BLOCKS_MAX", 2)
    told = a_rank().apply([a_stored(1), a_stored(2, parent=1), a_stored(3, parent=2), a_stored(4, 5, 6, parent=3)])

    assert [len(hashes(event)) for event in told] == [2, 1, 3]


def test_storing_again_tells_nothing_and_removal_waits_for_the_last_copy() -> None:
    rank = a_rank()
    rank.apply([a_stored(1)])

    assert rank.apply([a_stored(1)]) == ()
    assert rank.apply([a_removed(1)]) == ()
    assert hashes(rank.apply([a_removed(1)])[0]) == names(1)


def test_tiers_are_kept_apart() -> None:
    rank = a_rank()
    rank.apply([a_stored(1), a_stored(1, tier=Tier.HOST), a_removed(1)])

    assert content(rank.state(None)) == {Tier.HOST: set(names(1))}
    assert hashes(rank.apply([a_stored(2, parent=1)])[0]) == names(1, 2)[1:]


def test_salt_is_inherited_from_the_first_block() -> None:
    rank = a_rank()
    told = rank.apply([a_stored(1, cache_salt="t1"), a_stored(2, parent=1)])

    assert hashes(told[0]) == names(1, 2, cache_salt="t1")


def test_adapter_moves_the_hash() -> None:
    assert hashes(a_rank().apply([a_stored(1, lora_name="sql")])[0]) == names(1, lora_name="sql")


def test_blocks_from_media_on_are_left_out() -> None:
    rank = a_rank()
    told = rank.apply([a_stored(1, 2, 3, plain_blocks=1), a_stored(4, parent=3)])

    assert hashes(told[0]) == names(1)
    assert (rank.oddities.media, rank.oddities.unknown_parent) == (2, 1)


@pytest.mark.parametrize(
    ("event", "counted"),
    [
        pytest.param(a_stored(2, parent=99), "unknown_parent", id="parent"),
        pytest.param(a_removed(99), "unknown_block", id="block"),
        pytest.param(a_stored(1, block_size=8), "wrong_block_size", id="block-size"),
    ],
)
def test_oddities_are_counted_and_not_told(event: EngineEvent, counted: str) -> None:
    rank = a_rank()

    assert rank.apply([event]) == ()
    assert getattr(rank.oddities, counted) == 1


def test_clearing_is_told_and_empties() -> None:
    rank = a_rank()
    told = rank.apply([a_stored(1), AllCleared(), a_stored(2)])

    assert [type(event) for event in told] == [Stored, Cleared, Stored]
    assert content(rank.state(None)) == {Tier.DEVICE: set(names(2))}


def test_history_answers_what_it_keeps_and_state_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(translate, "HISTORY_EVENTS_MAX", 3)
    rank = a_rank()
    for handle in range(5):
        rank.apply([a_stored(handle)])

    assert [event.event_id for event in rank.state(1).events] == [2, 3, 4]
    assert rank.state(4).events == ()
    assert rank.state(4).tiers is None
    for after in (None, -1, 0, 5, 10**18):
        assert rank.state(after).tiers is not None, after
    assert rank.state(None).last_event_id == 4


def test_new_rank_has_no_history() -> None:
    assert a_rank().state(None) == KvState(1, 0, -1, {})


HANDLES = st.integers(0, 7)
TIERS = st.sampled_from([Tier.DEVICE, Tier.HOST])
EVENTS = (
    st.builds(lambda h, p, t: a_stored(h, parent=p, tier=t), HANDLES, st.none() | HANDLES, TIERS)
    | st.builds(lambda h, t: a_removed(*h, tier=t), st.lists(HANDLES, max_size=3), TIERS)
    | st.just(AllCleared())
)


class Follower:
    """What a router makes of the events."""

    def __init__(self) -> None:
        self.held: dict[Tier, set[int]] = {}

    def take(self, event: KvEvent) -> None:
        if isinstance(event, Cleared):
            self.held = {}
        elif isinstance(event, Stored):
            self.held.setdefault(event.tier, set()).update(hashes(event))
        else:
            self.held.setdefault(event.tier, set()).difference_update(hashes(event))


@settings(max_examples=150)
@given(st.lists(st.lists(EVENTS, max_size=4), max_size=12))
def test_follower_and_dump_and_plain_model_agree(batches: list[list[EngineEvent]]) -> None:
    rank, follower = a_rank(), Follower()
    model: Counter[tuple[Tier, int]] = Counter()
    next_id = 0
    for batch in batches:
        for event in rank.apply(batch):
            assert event.event_id == next_id
            next_id += 1
            follower.take(event)
        for raw in batch:
            model = _modelled(model, raw)
        rank.check()
    dumped = content(rank.state(None))

    assert {tier: held for tier, held in follower.held.items() if held} == dumped
    held_handles = {(tier, handle) for (tier, handle), count in model.items() if count > 0}
    assert {tier for tier, _ in held_handles} == set(dumped)
    for tier, held in dumped.items():
        assert len(held) <= len({handle for t, handle in held_handles if t is tier})


def _modelled(model: Counter[tuple[Tier, int]], event: EngineEvent) -> Counter[tuple[Tier, int]]:
    if isinstance(event, AllCleared):
        return Counter()
    if isinstance(event, BlocksStored):
        known = {handle for (_, handle), count in model.items() if count > 0}
        if event.parent is None or event.parent in known:
            model.update((event.tier, handle) for handle in event.handles)
        return model
    for handle in event.handles:
        if model[event.tier, handle] > 0:
            model[event.tier, handle] -= 1
    return model


@given(st.lists(EVENTS, max_size=30), st.integers(-1, 30))
def test_catching_up_equals_having_followed(events: list[EngineEvent], after: int) -> None:
    rank, early = a_rank(), Follower()
    for event in rank.apply(events):
        if event.event_id <= after:
            early.take(event)
    state = rank.state(after)
    if state.tiers is None:
        for event in state.events:
            early.take(event)
    else:
        early.held = content(state)

    assert {tier: held for tier, held in early.held.items() if held} == content(rank.state(None))
