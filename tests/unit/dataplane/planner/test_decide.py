"""Single decisions: when it holds, what partial sight allows, and what always holds whatever is seen."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynamo.planner.decide import decide
from dynamo.planner.observation import Bounds, Decision, Fleet, Observation, Pace, Policy, State, Targets, Traffic
from dynamo.wire.cards import Role

A = Role.AGGREGATED
POLICY = Policy(Targets(1.0, 0.05), Bounds({A: 1}, 16), Pace(5, 20))
BUSY = Traffic(
    5, 10, completions=10, first_tokens=10, isl_tokens=1000, uncached_tokens=1000, osl_tokens=100, ttft_s=0.3,
    itl_s=0.02, in_flight=8, queued=1,
)  # fmt: skip
FLEET = Fleet(2, 2, running=6, prefill_s=0.2)


def run(*seen: tuple[Traffic | None, Fleet], policy: Policy = POLICY, state: State | None = None) -> Decision:
    decision = Decision({}, "", state or State())
    for number, (traffic, fleet) in enumerate(seen):
        missing = () if traffic else ("f0: no metrics within 4 s",)
        decision = decide(Observation(100 + 5.0 * number, traffic, {A: fleet}, missing), policy, decision.state)
    return decision


@pytest.mark.parametrize(
    ("traffic", "fleet", "why"),
    [
        pytest.param(None, FLEET, "f0: no metrics within 4 s", id="nothing-read"),
        pytest.param(replace(BUSY, queued=math.nan), FLEET, "not finite", id="nan"),
        pytest.param(BUSY, replace(FLEET, running=math.inf), "not finite", id="infinite"),
        pytest.param(BUSY, replace(FLEET, seen=0), "no aggregated worker told its load", id="blind"),
    ],
)
def test_missing_data_holds_and_says_why(traffic: Traffic | None, fleet: Fleet, why: str) -> None:
    decision = run((traffic, replace(fleet, desired=5)))

    assert decision.is_hold
    assert decision.replicas == {A: 5}
    assert why in decision.reason


def test_holding_keeps_the_floor() -> None:
    decision = run((None, Fleet(1, 1)), policy=replace(POLICY, bounds=Bounds({A: 3}, 16)))

    assert decision.replicas == {A: 3}


def test_gap_starts_the_settling_time_anew() -> None:
    many = replace(FLEET, desired=8, ready=8, running=0)
    quiet = Traffic(5, 0)
    calm = [(quiet, many)] * 6

    assert run(*calm).replicas == {A: 1}
    assert run(*calm[:-1], (None, many), (quiet, many)).replicas == {A: 8}


def test_lower_bounds_take_no_worker_away_but_add_some() -> None:
    many, partial = replace(FLEET, desired=8, ready=8, running=40), replace(BUSY, is_partial=True)
    flood = replace(partial, arrivals=200)

    assert run(*[(BUSY, many)] * 12).replicas[A] < 8
    assert run(*[(partial, many)] * 12).replicas == {A: 8}
    assert run(*[(partial, FLEET)] * 3, *[(flood, FLEET)] * 2).replicas[A] > 4


def test_queue_adds_workers_before_arrivals_do() -> None:
    calm, crowd = [(BUSY, FLEET)] * 4, replace(BUSY, queued=400)

    assert run(*calm).replicas == {A: 2}
    assert run(*calm, (crowd, FLEET)).replicas[A] >= 4


def test_workers_on_their_way_are_not_asked_for_twice() -> None:
    flood = replace(BUSY, arrivals=100, first_tokens=10)
    policy = replace(POLICY, bounds=Bounds({A: 1}, max_step=64))
    first = run(*[(BUSY, FLEET)] * 4, *[(flood, FLEET)] * 12, policy=policy)
    starting = replace(FLEET, desired=first.replicas[A])

    second = run((flood, starting), policy=policy, state=first.state)

    assert first.replicas[A] >= 6
    assert second.replicas == first.replicas


def test_measured_misses_beat_a_model_that_sees_no_need() -> None:
    slow = replace(BUSY, ttft_s=4.0, queued=9)

    decision = run(*[(slow, replace(FLEET, prefill_s=0.01))] * 4)

    assert decision.replicas == {A: 3}
    assert "TTFT measured at 4000 ms" in decision.reason


def test_misses_of_a_queue_that_is_going_add_nobody() -> None:
    slow = replace(BUSY, ttft_s=4.0, queued=30)
    going = replace(slow, first_tokens=16)

    assert run(*[(slow, replace(FLEET, prefill_s=0.01))] * 4).replicas == {A: 3}
    assert run(*[(going, replace(FLEET, prefill_s=0.01))] * 4).replicas == {A: 2}, "36 fewer within the drain time"


def test_queue_that_will_be_gone_before_a_worker_could_come_adds_nobody() -> None:
    crowd = replace(BUSY, queued=400)
    calm = run(*[(BUSY, FLEET)] * 4)
    quick, slow = (replace(calm.state, startup_s=startup_s) for startup_s in (2.0, 120.0))

    assert run((crowd, FLEET), state=quick).replicas == {A: 3}
    assert run((crowd, FLEET), state=slow).replicas == {A: 2}


def test_one_measured_latency_is_not_taken_as_growing_with_streams() -> None:
    alone = replace(BUSY, in_flight=1, queued=0, osl_tokens=150, itl_s=0.006, ttft_s=0.02)
    few = replace(FLEET, desired=1, ready=1, running=1, max_num_seqs=4, prefill_s=0.02)

    decision = run(*[(alone, few)] * 13)

    assert decision.replicas == {A: 1}, "1.8 streams, and 1.3 for chance, fit into 80 % of 4 slots"


def test_latency_on_a_full_worker_is_not_taken_for_that_of_its_empty_neighbours() -> None:
    crowded = replace(BUSY, itl_s=0.13, in_flight=30, queued=0, arrivals=0, completions=1)
    uneven = Fleet(3, 3, running=30, crowd=30.0, prefill_s=0.2)

    fleet_mean = run(*[(crowded, replace(uneven, crowd=None))] * 3).state.roles[A].itl.reaches(0.045)
    per_stream = run(*[(crowded, uneven)] * 3).state.roles[A].itl.reaches(0.045)

    assert fleet_mean == pytest.approx(10 * 45 / 130)
    assert per_stream == pytest.approx(30 * 45 / 130)


def test_unreachable_ttft_is_said_and_sized_by_utilisation() -> None:
    decision = run(*[(replace(BUSY, ttft_s=3.0), replace(FLEET, desired=4, ready=4, prefill_s=1.5))] * 4)

    assert decision.replicas == {A: 4}
    assert "TTFT target 1000 ms is below one request's own time" in decision.reason


def test_nothing_learnt_changes_nothing() -> None:
    unmeasured = Traffic(5, 3, in_flight=3, queued=1)

    decision = run(*[(unmeasured, replace(FLEET, prefill_s=None, running=3))] * 10)

    assert decision.replicas == {A: 2}
    assert "not measured yet" in decision.reason


def test_prefill_and_decode_are_sized_apart() -> None:
    policy = Policy(Targets(1.0, 0.05), Bounds({Role.PREFILL: 1, Role.DECODE: 1}, None), Pace(5, 20))
    state, decision = State(), None
    for number in range(4):
        fleets = {
            Role.PREFILL: Fleet(1, 1, running=1, prefill_s=0.4),
            Role.DECODE: Fleet(1, 1, running=4),
        }
        seen = Observation(100 + 5.0 * number, replace(BUSY, arrivals=40, first_tokens=40), fleets)
        decision = decide(seen, policy, state)
        state = decision.state

    assert decision is not None
    assert decision.replicas[Role.PREFILL] >= 4
    assert "ms prefill" in decision.needs[Role.PREFILL].why
    assert "streams at once" in decision.needs[Role.DECODE].why


numbers = st.one_of(st.floats(0, 1e4), st.just(math.nan), st.just(0.0))
maybe = st.one_of(st.none(), st.floats(1e-4, 100))


@given(
    st.lists(
        st.tuples(numbers, numbers, numbers, maybe, maybe, maybe, st.integers(0, 20), st.integers(0, 20)),
        min_size=1,
        max_size=25,
    )
)
def test_bounds_hold_whatever_is_seen(
    rounds: list[tuple[float, float, float, float | None, float | None, float | None, int, int]],
) -> None:
    policy = Policy(Targets(0.5, 0.05), Bounds({A: 2}, max_gpus=12, max_step=3), Pace(5, 20))
    state = State()
    for number, (arrivals, queued, running, ttft_s, itl_s, prefill_s, desired, ready) in enumerate(rounds):
        traffic = Traffic(5, arrivals, completions=5, first_tokens=5, osl_tokens=50, isl_tokens=100, ttft_s=ttft_s,
                          itl_s=itl_s, queued=queued)  # fmt: skip
        fleet = Fleet(desired, min(ready, desired), running=running, prefill_s=prefill_s)
        decision = decide(Observation(5.0 * number, traffic, {A: fleet}), policy, state)
        state = decision.state

        assert 2 <= decision.replicas[A] <= 12
        assert decision.reason
        if 2 <= desired <= 12:
            assert abs(decision.replicas[A] - desired) <= 3
