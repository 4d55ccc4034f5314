"""Curves: what is read off few points, and that no reading is ever too good."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynamo.planner.curve import FORGET_AFTER_S, NO_CURVE, REACH, Curve


def a_curve(*samples: tuple[float, float], now_s: float = 0.0) -> Curve:
    curve = NO_CURVE
    for x, y in samples:
        curve = curve.with_sample(x, y, now_s)
    return curve


def test_empty_curve_knows_nothing() -> None:
    assert (NO_CURVE.at(1), NO_CURVE.reaches(1), NO_CURVE.in_proportion(1), NO_CURVE.most) == (None, None, None, 0.0)


def test_line_is_recovered_from_two_loads() -> None:
    curve = a_curve((4, 0.014), (16, 0.026), (4, 0.014), (16, 0.026))

    assert curve.at(8) == pytest.approx(0.018)
    assert curve.reaches(0.030) == pytest.approx(20)


def test_one_point_errs_on_the_safe_side() -> None:
    curve = a_curve((100, 0.2))

    assert curve.at(50) == 0.2
    assert curve.at(200) == pytest.approx(0.4)
    assert curve.reaches(0.1) == pytest.approx(50)


def test_nothing_reaches_below_the_intercept() -> None:
    assert a_curve((1, 0.05), (8, 0.06)).reaches(0.04) is None


def test_flat_curve_is_not_believed_far_beyond_what_was_seen() -> None:
    assert a_curve((2, 0.01), (8, 0.01)).reaches(0.011) == pytest.approx(REACH * 8)


def test_long_steady_load_does_not_wipe_out_another() -> None:
    curve = a_curve((4, 0.014), *[(16, 0.026)] * 500)

    assert len(curve.points) == 2
    assert curve.at(4) == pytest.approx(0.014)


def test_points_are_forgotten_after_an_hour() -> None:
    curve = a_curve((4, 0.5)).with_sample(16, 0.026, FORGET_AFTER_S + 1)

    assert [round(point.x) for point in curve.points.values()] == [16]


@pytest.mark.parametrize("bad", [0.0, -1.0, math.nan, math.inf])
def test_senseless_samples_are_left_out(bad: float) -> None:
    assert a_curve((bad, 1.0), (1.0, bad)).is_empty


@given(st.lists(st.tuples(st.floats(0.1, 1e4), st.floats(1e-4, 10)), min_size=1, max_size=40))
def test_what_is_reached_keeps_the_limit(samples: list[tuple[float, float]]) -> None:
    curve = a_curve(*samples)
    for limit in (0.001, 0.1, 1.0):
        reached = curve.reaches(limit)
        if reached is not None and len(curve.points) > 1:
            found = curve.at(reached)
            assert found is not None
            assert found <= limit * (1 + 1e-6)
        assert all((curve.at(x) or 0) >= 0 for x in (0.1, 1, 1e5))
