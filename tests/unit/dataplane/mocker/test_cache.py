"""The block pool against a naive model that stores whole chains."""

from __future__ import annotations

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from dynamo.mocker.cache import BlockPool

POOL_BLOCKS = 12
Chain = tuple[int, ...]


def key_of(chain: Chain) -> int:
    return hash(("block", chain)) & (1 << 64) - 1


def keys_of(chain: Chain) -> list[int]:
    return [key_of(chain[: n + 1]) for n in range(len(chain))]


class PoolAgainstNaiveModel(RuleBasedStateMachine):
    """The model keeps the chains that requests hold, and every chain ever cached minus the reported evictions."""

    def __init__(self) -> None:
        super().__init__()
        self.pool = BlockPool(POOL_BLOCKS)
        self.held: list[Chain] = []
        self.present: dict[int, Chain] = {}

    def held_keys(self) -> set[int]:
        return {key for chain in self.held for key in keys_of(chain)}

    @rule(chain=st.lists(st.integers(0, 2), min_size=1, max_size=6).map(tuple))
    def run_a_request_until_it_holds_its_chain(self, chain: Chain) -> None:
        keys = keys_of(chain)
        hits = self.pool.match(keys)
        naive_hits = next((n for n, key in enumerate(keys) if key not in self.present), len(keys))
        assert hits == naive_hits
        missing = len(keys) - hits
        room = POOL_BLOCKS - len(self.held_keys() | set(keys[:hits]))
        self.pool.hold(keys[:hits])
        evicted = self.pool.take(missing)
        assert (evicted is None) == (missing > room)
        if evicted is None:
            self.pool.release(keys[:hits], 0)
            return
        for key in evicted:
            gone = self.present.pop(key)
            assert key not in self.held_keys()
            assert not any(chain != gone and chain[: len(gone)] == gone for chain in self.present.values())
        for index in range(hits, len(keys)):
            is_new = self.pool.commit(keys[index], keys[index - 1] if index else None)
            assert is_new == (keys[index] not in self.present)
            self.present[keys[index]] = chain[: index + 1]
        self.held.append(chain)

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def finish_a_request(self, data: st.DataObject) -> None:
        chain = self.held.pop(data.draw(st.integers(0, len(self.held) - 1)))
        self.pool.release(keys_of(chain), 0)

    @rule()
    def clear(self) -> None:
        assert self.pool.clear() == (not self.held)
        if not self.held:
            self.present.clear()

    @invariant()
    def counts_agree(self) -> None:
        self.pool.check()
        state = self.pool.snapshot()
        assert state.private == 0
        assert state.active == len(self.held_keys())
        assert state.active + state.cached == len(self.present)
        assert self.pool.available == POOL_BLOCKS - state.active


TestPool = PoolAgainstNaiveModel.TestCase
TestPool.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)


def test_two_copies_of_a_block_become_one() -> None:
    pool = BlockPool(4)
    assert pool.take(2) == ()
    assert pool.commit(1, None)
    assert not pool.commit(1, None)
    assert pool.snapshot().active == 1
    pool.release([1], 0)
    assert pool.snapshot().active == 1
    pool.release([1], 0)
    assert pool.snapshot().cached == 1


def test_least_recently_used_leaf_goes_first() -> None:
    pool = BlockPool(4)
    for key, parent in ((1, None), (2, 1), (3, None)):
        pool.take(1)
        pool.commit(key, parent)
    pool.release([1, 2], 0)
    pool.release([3], 0)
    assert pool.take(2) == (2,)
    assert pool.take(1) == (1,)
    assert pool.take(1) == (3,)
    assert pool.take(1) is None


def test_without_prefix_caching_nothing_matches() -> None:
    pool = BlockPool(2, keeps_prefixes=False)
    pool.take(1)
    assert pool.match([1]) == 0
    pool.release([], 1)
    assert pool.snapshot().free == 2
