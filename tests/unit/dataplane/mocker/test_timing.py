"""Step times follow the reference formulas and a measured profile."""

from __future__ import annotations

import numpy as np
import pytest

from dynamo.mocker.timing import Polynomial, Profile, Speed, StepLoad

CAPACITY = 16384 * 64


def load(prefill: int = 0, decoding: int = 0, context: int = 0) -> StepLoad:
    return StepLoad(prefill, decoding, context, CAPACITY)


@pytest.mark.parametrize(
    ("step", "expected_ms"),
    [
        pytest.param(load(prefill=1000), 32.1, id="1000 prompt tokens"),
        pytest.param(load(decoding=1), 5.74, id="empty cache"),
        pytest.param(load(decoding=1, context=CAPACITY), 34.0, id="full cache"),
        pytest.param(load(decoding=4, context=12_000), 6.35, id="measured point"),
        pytest.param(load(prefill=1000, decoding=1), 32.1 + 5.74, id="both"),
        pytest.param(load(), 0.0, id="nothing"),
    ],
)
def test_polynomial_matches_the_reference(step: StepLoad, expected_ms: float) -> None:
    assert Speed(Polynomial()).step_s(step) * 1000 == pytest.approx(expected_ms, abs=0.06)


def test_speed_scales_both_and_decode_ratio_only_decoding() -> None:
    step = load(prefill=1000, decoding=1)
    assert Speed(Polynomial(), 2).step_s(step) == pytest.approx(Speed(Polynomial()).step_s(step) / 2)
    plain = Speed(Polynomial()).step_s(load(decoding=1))
    assert Speed(Polynomial(), 1, 2).step_s(load(decoding=1)) == pytest.approx(plain / 2)
    assert Speed(Polynomial(), 1, 2).step_s(load(prefill=5)) == Speed(Polynomial()).step_s(load(prefill=5))


def test_ratio_zero_takes_no_time() -> None:
    assert Speed(Polynomial(), 0).step_s(load(prefill=10_000, decoding=9)) == 0


PROFILE = Profile(
    isl=np.array([100.0, 200.0]),
    ttft_ms=np.array([10.0, 30.0]),
    kv_tokens=np.array([0.0, 1000.0]),
    context=np.array([0.0, 100.0]),
    itl_ms=np.array([[2.0, 4.0], [6.0, 8.0]]),
)


@pytest.mark.parametrize(
    ("step", "expected_ms"),
    [
        pytest.param(load(prefill=150), 20, id="between prompt lengths"),
        pytest.param(load(prefill=10), 10, id="below the measured range"),
        pytest.param(load(prefill=1000), 30, id="above the measured range"),
        pytest.param(load(decoding=10, context=500), 5, id="middle of the grid"),
        pytest.param(load(decoding=1, context=5000), 8, id="beyond the grid"),
    ],
)
def test_profile_is_interpolated_and_clamped(step: StepLoad, expected_ms: float) -> None:
    assert Speed(PROFILE).step_s(step) * 1000 == pytest.approx(expected_ms)
