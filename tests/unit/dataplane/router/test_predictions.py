from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dynamo.router.predictions import BoundedIndex, ExpiringIndex

CHAIN = [1, 2, 3, 4]


def _nothing_pending(_: str) -> bool:
    return False


def test_prefix_is_forgotten_after_its_time() -> None:
    index = ExpiringIndex(ttl_s=10.0)
    index.put(0, CHAIN, "a", 0.0)
    index.expire(9.9, _nothing_pending)
    assert index.index.match(CHAIN) == {0: 4}
    index.expire(10.0, _nothing_pending)
    assert index.index.match(CHAIN) == {}


def test_use_refreshes_the_part_that_was_used() -> None:
    index = ExpiringIndex(ttl_s=10.0)
    index.put(0, CHAIN, "a", 0.0)
    index.put(0, CHAIN[:2], "b", 5.0)
    index.expire(12.0, _nothing_pending)
    assert index.index.match(CHAIN) == {0: 2}


def test_prompt_not_yet_computed_lives_on() -> None:
    index = ExpiringIndex(ttl_s=10.0)
    index.put(0, CHAIN, "slow", 0.0)
    index.expire(10.0, lambda request_id: request_id == "slow")
    assert index.index.match(CHAIN) == {0: 4}
    index.expire(20.0, _nothing_pending)
    assert index.index.match(CHAIN) == {}


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 3), st.integers(0, 9)), max_size=30))
def test_expiring_index_is_consistent_and_empties(steps: list[tuple[int, int, int]]) -> None:
    index, now_s = ExpiringIndex(ttl_s=5.0), 0.0
    for slot, prompt, wait_s in steps:
        now_s += wait_s
        index.expire(now_s, _nothing_pending)
        if wait_s == 9:
            index.clear(slot)
        else:
            index.put(slot, [prompt * 10 + block for block in range(4)], "r", now_s)
        index.check()
    index.expire(now_s + 5.0, _nothing_pending)
    assert all(index.index.held(slot) == 0 for slot in range(3))


def test_least_recently_used_prompt_goes_first_and_its_end_before_its_start() -> None:
    index = BoundedIndex()
    index.put(0, [1, 2, 3], 6)
    index.put(0, [4, 5, 6], 6)
    index.put(0, [7], 6)
    assert index.index.match([1, 2, 3]) == {0: 2}
    assert index.index.match([4, 5, 6]) == {0: 3}


@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 5), st.integers(1, 4)), max_size=40))
def test_bounded_index_keeps_its_bound(steps: list[tuple[int, int, int]]) -> None:
    index = BoundedIndex()
    for slot, prompt, length in steps:
        index.put(slot, [prompt * 10 + block for block in range(length)], 7)
        index.check()
        assert index.index.held(slot) <= 7
        assert index.index.match([prompt * 10 + block for block in range(length)])[slot] == length
