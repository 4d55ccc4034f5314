"""When a worker counts as frozen, and what it takes to come back."""

from __future__ import annotations

import pytest

from dynamo.frontend.pulse import Pulse, next_probe_s

ANSWER, SILENCE = True, False


def after(*probes: bool) -> Pulse:
    pulse = Pulse()
    for has_answered in probes:
        pulse = pulse.answered() if has_answered else pulse.silent()
    return pulse


@pytest.mark.parametrize(
    ("probes", "is_suspect", "is_frozen"),
    [
        pytest.param((), False, False, id="a-new-worker-is-trusted"),
        pytest.param((SILENCE,), True, False, id="one-lost-probe-makes-it-suspect"),
        pytest.param((SILENCE, ANSWER, SILENCE), True, False, id="an-answer-forgives"),
        pytest.param((SILENCE, SILENCE), False, True, id="two-in-a-row-make-it-frozen"),
        pytest.param((SILENCE, SILENCE, ANSWER), False, True, id="one-answer-is-no-proof"),
        pytest.param((SILENCE, SILENCE, ANSWER, SILENCE, ANSWER), False, True, id="proof-must-be-unbroken"),
        pytest.param((SILENCE, SILENCE, ANSWER, ANSWER), False, False, id="two-answers-in-a-row-are"),
        pytest.param((SILENCE, SILENCE, ANSWER, ANSWER, SILENCE), True, False, id="then-it-is-as-trusted-as-any"),
    ],
)
def test_life_is_told_by_answers(probes: tuple[bool, ...], is_suspect: bool, is_frozen: bool) -> None:
    assert (after(*probes).is_suspect, after(*probes).is_frozen) == (is_suspect, is_frozen)


@pytest.mark.parametrize(
    ("pulse", "least_s", "most_s"),
    [
        pytest.param(Pulse(), 2.4, 3.0, id="within-the-interval-whatever-chance-says"),
        pytest.param(after(SILENCE), 0.0, 0.0, id="a-suspect-at-once"),
        pytest.param(after(SILENCE, SILENCE), 1.0, 1.0, id="a-frozen-one-soon"),
    ],
)
def test_probes_come_in_time(pulse: Pulse, least_s: float, most_s: float) -> None:
    found = [next_probe_s(pulse, 3.0, chance) for chance in (0.0, 0.5, 1.0)]
    assert (min(found), max(found)) == pytest.approx((least_s, most_s))


def test_frozen_worker_is_noticed_within_two_intervals() -> None:
    every_s, timeout_s = 3.0, 1.5
    slowest_s = next_probe_s(Pulse(), every_s, 1.0) + timeout_s + next_probe_s(after(SILENCE), every_s, 1.0) + timeout_s
    assert slowest_s <= 2 * every_s
