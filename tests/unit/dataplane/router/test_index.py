from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from benchmarks.index.naive import NaiveIndex
from dynamo.router.index import PrefixIndex
from dynamo.router.owners import slots_in

CHAINS = [[100 * prompt + block if block >= 3 else block for block in range(8)] for prompt in range(4)]
"""Four prompts of eight blocks with three blocks in common."""
SLOTS = st.integers(0, 40)
PROMPTS = st.sampled_from(CHAINS)
SPAN = st.tuples(st.integers(0, 8), st.integers(0, 8)).map(sorted)


class IndexAgainstNaive(RuleBasedStateMachine):
    """Any mix of stores and removals, in the middle of chains too, and the index answers as the definition does."""

    def __init__(self) -> None:
        super().__init__()
        self.index = PrefixIndex()
        self.naive = NaiveIndex()

    @rule(slot=SLOTS, chain=PROMPTS, span=SPAN)
    def store(self, slot: int, chain: list[int], span: list[int]) -> None:
        self.index.store(slot, chain[span[0] : span[1]])
        self.naive.store(slot, chain[span[0] : span[1]])

    @rule(slot=SLOTS, chain=PROMPTS, span=SPAN)
    def remove(self, slot: int, chain: list[int], span: list[int]) -> None:
        self.index.remove(slot, chain[span[0] : span[1]])
        self.naive.remove(slot, chain[span[0] : span[1]])

    @rule(slot=SLOTS)
    def clear(self, slot: int) -> None:
        self.index.clear(slot)
        self.naive.clear(slot)

    @rule(slot=SLOTS, chain=PROMPTS)
    def replace(self, slot: int, chain: list[int]) -> None:
        self.index.replace(slot, chain)
        self.naive.clear(slot)
        self.naive.store(slot, chain)

    @rule(slot=SLOTS, chain=PROMPTS, blocks=st.integers(0, 8))
    def prove(self, slot: int, chain: list[int], blocks: int) -> None:
        self.index.prove(slot, chain[:blocks])

    @rule(chain=PROMPTS, start=st.integers(0, 8), among=st.integers(0, 2**41 - 1))
    def match_from_anywhere(self, chain: list[int], start: int, among: int) -> None:
        expected = {slot: blocks for slot, blocks in self.naive.match(chain, start).items() if among >> slot & 1}
        assert self.index.match(chain, start, among) == expected

    @invariant()
    def every_prompt_matches_as_defined(self) -> None:
        self.index.check()
        for chain in CHAINS:
            assert self.index.match(chain) == self.naive.match(chain)

    @invariant()
    def counts_agree(self) -> None:
        held = [self.naive.held(slot) for slot in range(41)]
        assert [self.index.held(slot) for slot in range(41)] == held
        assert self.index.held_of(np.arange(41)).tolist() == held


IndexAgainstNaive.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestIndexAgainstNaive = IndexAgainstNaive.TestCase


def test_match_stops_at_a_hole_although_later_blocks_remain() -> None:
    index = PrefixIndex()
    index.store(0, [1, 2, 3, 4])
    index.remove(0, [2])
    assert index.match([1, 2, 3, 4]) == {0: 1}


def test_proven_blocks_are_those_reused_and_still_there() -> None:
    index, chain, slots = PrefixIndex(), [1, 2, 3, 4, 5, 6], np.array([0])
    index.prove(0, chain)
    index.store(0, chain)
    assert index.proven_of(slots) == 0, "nothing was there to reuse"
    index.prove(0, [*chain[:5], 99])
    index.remove(0, [5])
    assert index.proven_of(slots) == 4
    index.replace(0, chain[:3])
    assert index.proven_of(slots) == 3
    index.clear(0)
    assert index.proven_of(slots) == 0


def test_last_owner_gone_leaves_nothing_behind() -> None:
    index = PrefixIndex()
    index.store(0, [1, 2])
    index.store(1, [2, 3])
    index.clear(0)
    index.remove(1, [2, 3])
    assert len(index) == 0


@pytest.mark.parametrize("count", [0, 1, 16, 17, 900])
def test_slots_in_lists_the_set_bits(count: int) -> None:
    slots = sorted(random.Random(count).sample(range(1000), count))
    assert slots_in(sum(1 << slot for slot in slots)) == slots
