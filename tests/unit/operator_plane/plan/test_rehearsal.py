"""What a rehearsal shows must keep the two bounds of every rollout, for any limits and sizes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dynamo_operator.plan.rehearsal import Moment, rehearse
from dynamo_operator.plan.rollout import Generation, Limits, Roll

LIMITS = st.builds(Limits, st.integers(0, 4), st.integers(0, 4)).filter(lambda each: each.surge or each.unavailable)


def a_roll(
    limits: Limits, desired: int = 4, before: int = 4, ready: int | None = None, component: str = "decode"
) -> Roll:
    old = Generation(f"{component}-a", "a", before, before, before if ready is None else ready)
    return Roll(component, desired, limits, Generation(f"{component}-b", "b"), (old,))


def test_surge_comes_first_where_nothing_may_be_missing() -> None:
    states = [each[0] for each in rehearse((a_roll(Limits(1, 0), desired=2, before=2),))]

    assert states == [
        Moment("decode", old=2, new=0, serving=2),
        Moment("decode", old=2, new=1, serving=2),
        Moment("decode", old=1, new=1, serving=2, ending=1),
        Moment("decode", old=1, new=2, serving=2),
        Moment("decode", old=0, new=2, serving=2, ending=1),
        Moment("decode", old=0, new=2, serving=2),
    ]


def test_recreate_goes_through_nothing() -> None:
    states = [each[0] for each in rehearse((a_roll(Limits(1, 0, is_recreate=True), desired=2, before=2),))]

    assert [(each.old, each.new, each.serving) for each in states] == [(2, 0, 2), (0, 0, 0), (0, 2, 0), (0, 2, 2)]


def test_workers_of_half_a_generation_serve_nothing() -> None:
    """New decode workers are of no use before a prefill worker of their generation is ready."""
    decode = a_roll(Limits(1, 0), desired=1, before=1)
    prefill = a_roll(Limits(1, 0, is_recreate=True), desired=1, before=1, component="prefill")

    states = rehearse((decode, prefill))

    lame = [each for each in states if each[1].serving == 0]
    assert lame
    assert all(each[0].serving == 0 for each in lame)
    assert [(each.serving, each.old, each.new) for each in states[-1]] == [(1, 0, 1), (1, 0, 1)]


def test_what_does_not_move_has_one_state() -> None:
    assert len(rehearse((Roll("decode", 2, Limits(1, 0), Generation("d", "a", 2, 2, 2)),))) == 1


@given(limits=LIMITS, desired=st.integers(1, 12), before=st.integers(1, 12))
def test_bounds_hold_at_every_step_and_it_ends(limits: Limits, desired: int, before: int) -> None:
    limits = (
        Limits(limits.surge, min(limits.unavailable, desired))
        if limits.surge
        else Limits(0, min(limits.unavailable, desired) or 1)
    )
    states = [each[0] for each in rehearse((a_roll(limits, desired, before),))]

    assert states[-1] == Moment("decode", old=0, new=desired, serving=desired)
    least = min(desired - limits.unavailable, before)
    assert all(each.serving >= least for each in states)
    assert all(each.old + each.new + each.ending <= max(desired + limits.surge, before) for each in states)


@given(limits=LIMITS, ready=st.integers(0, 3))
def test_old_replicas_that_do_not_serve_never_start_to(limits: Limits, ready: int) -> None:
    states = [each[0] for each in rehearse((a_roll(limits, 4, 4, ready),))]

    assert all(each.serving <= ready + each.new for each in states)
    assert states[-1].serving == 4
