"""Continuous batching: limits hold, no token is lost or repeated, events tell the cache's true content."""

from __future__ import annotations

from dataclasses import replace

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from dynamo.mocker.scheduler import Scheduler
from dynamo.mocker.sequence import cache_root
from dynamo.mocker.timing import Polynomial, Speed
from dynamo.mocker.work import (
    Admission,
    BlocksRemoved,
    BlocksStored,
    CacheCleared,
    CacheEvent,
    Finish,
    Limits,
    Preemption,
    Step,
    Work,
)

LIMITS = Limits(total_blocks=16, block_size=4, max_num_seqs=4, max_num_batched_tokens=16)


class Counting:
    """Token i of the answer is 1000 + i."""

    def __init__(self) -> None:
        self.given = 0

    def next_token(self) -> int:
        self.given += 1
        return 999 + self.given


def work(request_id: str, prompt: list[int], max_tokens: int = 3, **fields: object) -> Work:
    return replace(Work(request_id, tuple(prompt), max_tokens, Counting()), **fields)  # type: ignore[arg-type]


def scheduler(limits: Limits = LIMITS) -> Scheduler:
    return Scheduler(limits, Speed(Polynomial()))


def drain(it: Scheduler, limit: int = 2000) -> list[Step]:
    steps = []
    while it.has_work:
        steps.append(it.step())
        it.check()
        assert len(steps) < limit, "no progress"
    return steps


def events(steps: list[Step]) -> list[CacheEvent]:
    return [event for step in steps for event in step.events]


def test_prompt_is_prefilled_in_chunks_and_first_token_comes_with_the_last_chunk() -> None:
    it = scheduler()
    it.submit(work("a", list(range(20)), max_tokens=2))
    steps = drain(it)
    assert [step.load.prefill_tokens for step in steps] == [16, 4, 0]
    assert [[e.token for e in step.emitted] for step in steps] == [[], [1000], [1001]]
    assert steps[-1].emitted[0].finish is Finish.LENGTH


def test_without_chunked_prefill_a_prompt_waits_for_the_whole_budget() -> None:
    it = scheduler(replace(LIMITS, chunked_prefill=False))
    it.submit(work("a", list(range(10)), max_tokens=1))
    it.submit(work("b", list(range(50, 60)), max_tokens=1))
    assert [step.load.prefill_tokens for step in drain(it)] == [10, 10]


def test_second_request_reuses_full_blocks_but_computes_at_least_one_token() -> None:
    it = scheduler()
    it.submit(work("a", list(range(8)), max_tokens=1))
    drain(it)
    it.submit(work("b", list(range(8)), max_tokens=1))
    (step,) = drain(it)
    assert step.emitted[0].cached_tokens == 4
    assert step.load.prefill_tokens == 4
    assert not step.events, "a hit emits nothing, and the second block was there already"


def test_stored_event_names_tokens_and_parent() -> None:
    it = scheduler()
    it.submit(work("a", list(range(6)), max_tokens=4))
    first, second = [event for event in events(drain(it)) if isinstance(event, BlocksStored)]
    assert (first.parent, first.tokens) == (None, (0, 1, 2, 3))
    assert (second.parent, second.tokens) == (first.keys[0], (4, 5, 1000, 1001))


def test_prefix_is_shared_from_the_moment_it_is_scheduled() -> None:
    it = scheduler()
    it.submit(work("a", list(range(9)), max_tokens=1))
    it.submit(work("b", [*range(8), 99], max_tokens=1))
    (step,) = drain(it)
    assert [(e.request_id, e.cached_tokens) for e in step.emitted] == [("a", 0), ("b", 8)]
    assert step.load.prefill_tokens == 9 + 1
    assert [event.tokens for event in events([step]) if isinstance(event, BlocksStored)] == [tuple(range(8))]


def test_prompt_joins_the_last_chunk_of_one_that_is_still_computed() -> None:
    it = scheduler()
    it.submit(work("a", list(range(20)), max_tokens=2))
    it.submit(work("b", [*range(20), 99], max_tokens=1))
    first, second, _ = drain(it)
    assert (first.load.prefill_tokens, second.load.prefill_tokens) == (16, 4 + 1)
    assert [(e.request_id, e.cached_tokens) for e in second.emitted] == [("a", 0), ("b", 20)]


def test_blocks_of_a_request_that_gives_way_in_a_step_are_not_told_nor_shared() -> None:
    it = scheduler(replace(LIMITS, total_blocks=6, max_num_batched_tokens=32, preemption=Preemption.FIFO))
    it.submit(work("a", list(range(8)), max_tokens=9))
    it.submit(work("b", list(range(50, 59)), max_tokens=9))
    step = it.step()
    while not it.preemptions:
        step = it.step()
        it.check()
    assert [e.request_id for e in step.emitted] == ["b"]
    assert not [event for event in step.events if isinstance(event, BlocksStored)]
    assert it.step().started == (), "a preempted request starts only once"
    drain(it)


def test_abort_while_its_step_runs_leaves_scheduled_blocks_for_others() -> None:
    it = scheduler()
    it.submit(work("a", list(range(20)), max_tokens=2))
    it.step()
    it.abort("a")
    it.check()
    it.submit(work("b", list(range(20)), max_tokens=1))
    assert [e.cached_tokens for step in drain(it) for e in step.emitted] == [16]


def test_adapters_and_salts_do_not_share_blocks() -> None:
    it = scheduler()
    for name, root in (("a", 0), ("b", cache_root("lora", None)), ("c", cache_root(None, "salt"))):
        it.submit(work(name, list(range(9)), max_tokens=1, cache_root=root))
        (step,) = drain(it)
        assert step.emitted[0].cached_tokens == 0


def test_zero_tokens_asked_gives_an_empty_answer() -> None:
    it = scheduler()
    it.submit(work("a", [1, 2, 3], max_tokens=0))
    (step,) = drain(it)
    assert [(e.token, e.finish) for e in step.emitted] == [(None, Finish.LENGTH)]


def test_stop_token_ends_the_answer_after_min_tokens() -> None:
    it = scheduler()
    it.submit(work("a", [1], max_tokens=9, stop_tokens=frozenset({1000, 1003}), min_tokens=2))
    emitted = [e for step in drain(it) for e in step.emitted]
    assert [e.token for e in emitted] == [1000, 1001, 1002, 1003]
    assert emitted[-1].finish is Finish.STOP


@pytest.mark.parametrize(
    ("policy", "gives_way"), [(Preemption.LIFO, "b"), (Preemption.FIFO, "a")], ids=["newest", "oldest"]
)
def test_preemption_policy_names_the_victim(policy: Preemption, gives_way: str) -> None:
    it = scheduler(replace(LIMITS, total_blocks=6, preemption=policy))
    it.submit(work("a", list(range(8)), max_tokens=9))
    it.submit(work("b", list(range(50, 58)), max_tokens=9))
    steps = drain(it)
    assert it.preemptions >= 1
    last = next(step for step in reversed(steps) if step.emitted).emitted[-1].request_id
    assert last == gives_way
    for name in "ab":
        tokens = [e.token for step in steps for e in step.emitted if e.request_id == name]
        assert tokens == list(range(1000, 1009))


def test_worst_case_admission_never_preempts() -> None:
    it = scheduler(replace(LIMITS, total_blocks=6, admission=Admission.WORST_CASE))
    for name in "abc":
        it.submit(work(name, [ord(name)] * 8, max_tokens=9))
    drain(it)
    assert it.preemptions == 0


def test_longest_cached_prefix_is_admitted_first() -> None:
    it = scheduler(replace(LIMITS, max_num_seqs=1, longest_prefix_first=True))
    it.submit(work("warm", list(range(8)), max_tokens=1))
    drain(it)
    it.submit(work("cold", list(range(100, 108)), max_tokens=1))
    it.submit(work("hit", list(range(9)), max_tokens=1))
    order = [e.request_id for step in drain(it) for e in step.emitted]
    assert order == ["hit", "cold"]


def test_transferred_prompt_costs_one_token() -> None:
    it = scheduler()
    it.submit(work("a", list(range(30)), max_tokens=1, prompt_is_transferred=True))
    (step,) = drain(it)
    assert step.load.prefill_tokens == 1


def test_abort_frees_blocks_at_once() -> None:
    it = scheduler()
    it.submit(work("a", list(range(10)), max_tokens=5))
    it.step()
    assert it.load().active_blocks == 3
    assert it.abort("a")
    assert not it.abort("a")
    assert it.load().active_blocks == 0
    it.check()


def test_cache_is_cleared_only_when_idle() -> None:
    it = scheduler()
    it.submit(work("a", list(range(10)), max_tokens=5))
    it.step()
    assert it.clear_cache() == ()
    drain(it)
    assert it.clear_cache() == (CacheCleared(),)
    assert it.load().used_blocks == 0


requests = st.lists(
    st.tuples(
        st.integers(0, 2),  # shared prefix
        st.integers(0, 6),  # its length in blocks
        st.integers(1, 7),  # own tokens
        st.integers(0, 12),  # max_tokens
        st.integers(0, 5),  # steps before the next one arrives
        st.one_of(st.none(), st.integers(0, 8)),  # abort after so many steps
    ),
    min_size=1,
    max_size=12,
)
limits = st.builds(
    Limits,
    total_blocks=st.integers(12, 24),
    block_size=st.just(4),
    max_num_seqs=st.integers(1, 5),
    max_num_batched_tokens=st.integers(4, 40),
    prefix_caching=st.booleans(),
    preemption=st.sampled_from(Preemption),
    admission=st.sampled_from(Admission),
    longest_prefix_first=st.booleans(),
)


@settings(max_examples=150, deadline=None)
@given(limits, requests)
def test_random_loads_keep_every_promise(
    limits: Limits, arrivals: list[tuple[int, int, int, int, int, int | None]]
) -> None:
    it = scheduler(limits)
    told: dict[str, list[int]] = {}
    done: set[str] = set()
    aborts: dict[str, int] = {}
    cached: set[int] = set()

    def advance() -> None:
        step = it.step()
        it.check()
        computed = step.load.prefill_tokens + step.load.decoding
        assert 0 < computed <= limits.max_num_batched_tokens
        assert it.load().running <= limits.max_num_seqs
        for emitted in step.emitted:
            assert emitted.request_id not in done
            if emitted.token is not None:
                told[emitted.request_id].append(emitted.token)
            if emitted.finish:
                done.add(emitted.request_id)
        for event in step.events:
            if isinstance(event, BlocksStored):
                assert event.parent is None or event.parent in cached
                assert not cached & set(event.keys)
                assert len(event.tokens) == len(event.keys) * limits.block_size
                cached.update(event.keys)
            elif isinstance(event, BlocksRemoved):
                assert cached >= set(event.keys)
                cached.difference_update(event.keys)
        for name in [name for name, left in aborts.items() if left <= 0]:
            del aborts[name]
            if it.abort(name):
                done.add(name)
        for name in aborts:
            aborts[name] -= 1

    asked: dict[str, int] = {}
    for number, (prefix, blocks, own, max_tokens, gap, abort_after) in enumerate(arrivals):
        name = str(number)
        prompt = [prefix] * (blocks * 4) + [100 + number] * own
        if not it.fits(len(prompt) + max_tokens):
            continue
        asked[name] = max_tokens
        told[name] = []
        it.submit(work(name, prompt, max_tokens))
        if abort_after is not None:
            aborts[name] = abort_after
        for _ in range(gap):
            if it.has_work:
                advance()
    steps = 0
    while it.has_work:
        advance()
        steps += 1
        assert steps < 3000, "no progress"
    for name, max_tokens in asked.items():
        assert told[name] == list(range(1000, 1000 + len(told[name])))
        assert len(told[name]) == max_tokens or name in aborts or arrivals[int(name)][5] is not None
    assert it.load().active_blocks == 0
    assert it.load().used_blocks == len(cached)
