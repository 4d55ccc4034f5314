from __future__ import annotations

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from dynamo.router.active import ActiveRequests
from dynamo.router.loads import SlotLoad


def an_active(**changes: object) -> ActiveRequests:
    fields: dict[str, object] = {"block_size": 16, "expiry_s": 300.0}
    return ActiveRequests(**{**fields, **changes})  # type: ignore[arg-type]


def begin(active: ActiveRequests, name: str, slot: int, hashes: list[int], tokens: int = 0, now_s: float = 0.0) -> None:
    active.begin(name, slot, hashes=hashes, own_blocks=0, prefill_tokens=tokens, now_s=now_s)


def test_blocks_that_running_requests_share_count_once() -> None:
    active = an_active()
    begin(active, "a", 0, [1, 2, 3])
    begin(active, "b", 0, [1, 2, 4])
    assert active.load(0).decode_blocks == 4
    active.finish("a")
    assert active.load(0).decode_blocks == 3
    assert active.match([1, 2, 3]) == {0: 2}


def test_users_of_a_block_are_the_requests_that_run_there_with_it() -> None:
    active = an_active()
    begin(active, "a", 0, [1, 2])
    begin(active, "b", 0, [1, 3])
    assert [active.users(0, name) for name in (1, 2, 3)] == [2, 1, 1]
    active.finish("a")
    assert [active.users(slot, name) for slot, name in ((0, 1), (0, 2), (1, 1))] == [1, 0, 0]


def test_prefill_tokens_count_until_the_first_output_token() -> None:
    active = an_active()
    begin(active, "a", 0, [1], tokens=100)
    begin(active, "b", 0, [2], tokens=50)
    assert active.is_prefilling("a")
    assert active.first_token("a", 1.0)
    assert not active.first_token("a", 2.0)
    assert not active.is_prefilling("a")
    assert active.load(0) == SlotLoad(requests=2, prefill_tokens=50, decode_blocks=2)


def test_output_blocks_weigh_when_counted() -> None:
    active = an_active(counts_output_blocks=True)
    active.begin("a", 0, hashes=[1], own_blocks=2, prefill_tokens=0, now_s=0.0)
    active.tokens("a", 15, 1.0)
    assert active.load(0).decode_blocks == 3
    active.tokens("a", 17, 1.0)
    assert active.load(0).decode_blocks == 5
    active.finish("a")
    assert active.load(0) == SlotLoad()


def test_silent_request_is_forgotten_and_a_talking_one_is_not() -> None:
    active = an_active()
    begin(active, "silent", 0, [1])
    begin(active, "talking", 0, [2])
    active.tokens("talking", 1, 200.0)
    assert active.expire(299.9) == ()
    assert active.expire(300.0) == ("silent",)
    assert active.expire(700.0) == ("talking",)
    assert active.load(0) == SlotLoad()


def test_reports_on_unknown_requests_are_ignored() -> None:
    active = an_active()
    assert not active.finish("x")
    assert not active.first_token("x", 0.0)
    active.tokens("x", 1, 0.0)
    assert len(active) == 0


class ActiveAgainstNaive(RuleBasedStateMachine):
    """Loads equal what a list of the running requests says, whatever happens in whatever order."""

    def __init__(self) -> None:
        super().__init__()
        self.active = an_active()
        self.running: dict[str, tuple[int, list[int], int]] = {}

    @rule(
        name=st.sampled_from("abcdef"),
        slot=st.integers(0, 2),
        prompt=st.integers(0, 3),
        length=st.integers(0, 5),
        tokens=st.integers(0, 99),
    )
    def begin(self, name: str, slot: int, prompt: int, length: int, tokens: int) -> None:
        hashes = [prompt * 10 + block for block in range(length)]
        begin(self.active, name, slot, hashes, tokens)
        self.running[name] = (slot, hashes, tokens)

    @rule(name=st.sampled_from("abcdef"))
    def first_token(self, name: str) -> None:
        self.active.first_token(name, 0.0)
        if name in self.running:
            self.running[name] = (*self.running[name][:2], 0)

    @rule(name=st.sampled_from("abcdef"))
    def finish(self, name: str) -> None:
        assert self.active.finish(name) == (self.running.pop(name, None) is not None)

    @rule(slot=st.integers(0, 2))
    def drop(self, slot: int) -> None:
        self.active.drop(slot)
        self.running = {name: request for name, request in self.running.items() if request[0] != slot}

    @invariant()
    def loads_agree(self) -> None:
        self.active.check()
        for slot in range(3):
            mine = [request for request in self.running.values() if request[0] == slot]
            blocks = {name for _, hashes, _ in mine for name in hashes}
            expected = SlotLoad(len(mine), sum(tokens for *_, tokens in mine), len(blocks))
            assert self.active.load(slot) == expected == self.active.loads(np.arange(3)).at(slot)


ActiveAgainstNaive.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestActiveAgainstNaive = ActiveAgainstNaive.TestCase
