"""What the planner does when load begins, steps, climbs or stays: it reaches what is needed, and asks for no more.

Most loads here are clients that wait for their answer before they ask again, on workers of the planner's example.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from dynamo.planner.forecast import forecast
from dynamo.planner.observation import Count, Policy
from tests.unit.dataplane.planner.simulation import (
    MOCKER,
    Outcome,
    Request,
    Speed,
    Streams,
    a_policy,
    poisson,
    regular,
    simulate,
)

STARTS_S = (0.5, 10.0, 60.0)
SLOW = Speed(prefill_token_s=0.0004)
TTFT_S = 1.0


def quick() -> Policy:
    """The planner's example."""
    return a_policy(ttft_s=0.5, gpus=6, tick_s=2, settle_s=20)


@pytest.mark.parametrize("startup_s", STARTS_S)
@pytest.mark.parametrize(
    ("levels", "rise_s"),
    [
        pytest.param([(60, 2), (300, 6)], 60, id="two-become-six"),
        pytest.param([(30, 0), (60, 2), (300, 6)], 90, id="none-then-two-then-six"),
        pytest.param([(30, 0), (300, 6)], 30, id="six-out-of-nothing"),
        pytest.param([(360, 6)], 0, id="six-from-the-first-tick-on"),
    ],
)
def test_streams_get_their_workers_and_none_too_many(
    levels: list[tuple[float, int]], rise_s: float, startup_s: float
) -> None:
    until_s = sum(lasts_s for lasts_s, _ in levels)

    outcome = simulate(
        Streams(levels), quick(), replace(MOCKER, startup_s=startup_s, cold_s=1.0), until_s=until_s, workers=1
    )

    assert outcome.replicas_at(until_s, 1) == 3, "six streams at 3.2 per worker, and room for chance"
    assert outcome.most(0, until_s, 1) == 3, outcome.trajectory(1)
    assert outcome.flips == 0, outcome.trajectory(1)
    assert outcome.most(0, rise_s, 1) <= 2, "two streams fit one worker, chance asks for a second"
    assert outcome.replicas_at(rise_s + 2 * startup_s + 20, 1) == 3, outcome.trajectory(1)


@pytest.mark.parametrize("startup_s", STARTS_S)
@pytest.mark.parametrize(
    "load",
    [
        pytest.param(regular([(600, 2), (900, 6)]), id="regular-2-to-6"),
        pytest.param(regular([(600, 0.001), (900, 6)]), id="regular-0-to-6"),
        *(pytest.param(poisson([(600, 2), (900, 6)], seed=seed), id=f"poisson-2-to-6-{seed}") for seed in range(3)),
        *(pytest.param(poisson([(600, 1e-4), (900, 6)], seed=seed), id=f"poisson-0-to-6-{seed}") for seed in range(2)),
    ],
)
def test_step_is_met_without_overshoot(load: list[Request], startup_s: float) -> None:
    outcome = simulate(load, a_policy(ttft_s=TTFT_S), replace(SLOW, startup_s=startup_s), until_s=1500, workers=2)

    settled = outcome.replicas_at(1500, 2)
    assert settled in (4, 5)
    # Chance may ask for one more within the quarter of an hour; what was the step's own doing were two or three.
    assert outcome.most(600, 600 + 4 * startup_s + 120, 2) <= settled, outcome.trajectory(2)
    assert outcome.most(600, 1500, 2) <= settled + 1, outcome.trajectory(2)
    assert outcome.replicas_at(630, 2) >= settled - 1, "not one per start"


@pytest.mark.parametrize("startup_s", STARTS_S)
def test_bursts_do_not_flap(startup_s: float) -> None:
    bursts = poisson([(120, 3), (15, 12)] * 8)

    outcome = simulate(bursts, a_policy(ttft_s=TTFT_S), replace(SLOW, startup_s=startup_s), until_s=1080, workers=2)

    assert outcome.flips <= 1, outcome.trajectory(2)
    assert outcome.attainment(TTFT_S) > 0.92


def test_steep_ramp_is_still_followed_ahead() -> None:
    found = [
        simulate(
            poisson([(20, 1 + step) for step in range(15)] + [(300, 16)], seed=seed),
            a_policy(ttft_s=TTFT_S), SLOW, until_s=600, workers=2,
        )
        for seed in range(4)
    ]  # fmt: skip

    assert sum(one.attainment(TTFT_S) for one in found) / 4 > 0.95
    assert sum(one.flips for one in found) <= 1


HOUR_S = 3600.0


@pytest.mark.slow
@pytest.mark.parametrize("startup_s", [0.5, 60.0])
@pytest.mark.parametrize("clients", [1, 4, 9])
def test_constant_streams_get_a_constant_fleet_for_an_hour(clients: int, startup_s: float) -> None:
    policy = a_policy(ttft_s=0.5, tick_s=2, settle_s=20)

    outcome = simulate(
        Streams([(HOUR_S, clients)]), policy, replace(MOCKER, startup_s=startup_s), until_s=HOUR_S, workers=1
    )

    assert [at_s for at_s, *_ in outcome.changes if at_s > 300] == [], outcome.trajectory(1)
    assert outcome.flips == 0


@pytest.mark.slow
@pytest.mark.parametrize("rate", [1.0, 4.0, 9.0])
def test_constant_chance_moves_the_fleet_hardly_for_an_hour(rate: float) -> None:
    found: list[Outcome] = [
        simulate(poisson([(HOUR_S, rate)], seed=seed), a_policy(ttft_s=TTFT_S), SLOW, until_s=HOUR_S, workers=2)
        for seed in range(2)
    ]

    for outcome in found:
        late = [after for at_s, _, after in outcome.changes if at_s > 300]
        assert len(late) <= 4, outcome.trajectory(2)
        assert max(late, default=0) - min(late, default=0) <= 1, outcome.trajectory(2)
        assert outcome.attainment(TTFT_S) > 0.96


@pytest.mark.parametrize("seed", range(3))
def test_no_worker_goes_whose_absence_users_would_feel(seed: int) -> None:
    load = poisson([(600, 9), (900, 3)], seed=seed)

    outcome = simulate(load, a_policy(ttft_s=TTFT_S), SLOW, until_s=1500, workers=6)

    assert any(after < before for at_s, before, after in outcome.changes if at_s > 600), "it does give some back"
    after_s = outcome.ttft_s[sum(request.at_s < 900 for request in load) :]
    assert sum(ttft_s <= TTFT_S for ttft_s in after_s) / len(after_s) > 0.97


@pytest.mark.parametrize("startup_s", STARTS_S)
@pytest.mark.parametrize(
    ("itl_stream_s", "clients", "least", "most"),
    [
        pytest.param(0.001, 10, 1, 1, id="ten-fit-one"),
        pytest.param(0.001, 30, 1, 2, id="thirty-fit-one-and-chance-asks-for-a-second"),
        pytest.param(0.004, 10, 2, 3, id="ten-need-two"),
        pytest.param(0.004, 30, 4, 7, id="thirty-need-four"),
    ],
)
def test_clients_that_start_together_get_what_their_latency_needs(
    itl_stream_s: float, clients: int, least: int, most: int, startup_s: float
) -> None:
    speed = Speed(prefill_token_s=0.00001, itl_base_s=0.01, itl_stream_s=itl_stream_s, startup_s=startup_s)

    outcome = simulate(Streams([(30, 0), (600, clients)], isl=500, osl=300), a_policy(), speed, until_s=630, workers=1)

    assert least <= outcome.replicas_at(630, 1) <= outcome.most(0, 630, 1) <= most, outcome.trajectory(1)
    assert outcome.flips == 0, outcome.trajectory(1)
    assert sum(outcome.itl_s[-20:]) / 20 < 0.05


def counted(*arrivals: float, present: tuple[float, ...] = (), every_s: float = 5.0) -> list[Count]:
    present = present or tuple(arrivals)
    return [
        Count(every_s * (number + 1), every_s, one, there)
        for number, (one, there) in enumerate(zip(arrivals, present, strict=True))
    ]


def expected(counts: list[Count]) -> float:
    return forecast(counts, counts[-1].at_s, lead_s=35, steady_s=60).rate_per_s


def test_step_is_no_trend() -> None:
    for after in range(1, 40):
        assert expected(counted(*[10.0] * 24, *[30.0] * after)) <= 6.0 + 1e-9, f"{after} intervals after the step"


def test_ramp_is_a_trend() -> None:
    assert expected(counted(*(10.0 + one for one in range(36)))) > 45 / 5


def test_quicker_answers_to_as_many_clients_are_no_trend() -> None:
    rising = tuple(10.0 + one for one in range(36))

    assert expected(counted(*rising, present=(6.0,) * 36)) < expected(counted(*rising))
    assert expected(counted(*rising, present=(6.0,) * 36)) <= 45 / 5


def test_all_at_once_again_and_again_are_no_more_than_at_once() -> None:
    waves = forecast(counted(*[30.0, 0.0, 0.0] * 30), 450, lead_s=35, steady_s=60)

    assert waves.dispersion > 15
    assert waves.lasting(15).dispersion == 1
    assert waves.lasting(15).rate_per_s == pytest.approx(2.0)
    assert waves.lasting(1000).rate_per_s == pytest.approx(2.0)
    assert waves.lasting(0).rate_per_s == waves.rate_per_s


def test_window_that_has_just_begun_is_believed_less() -> None:
    rates = [expected(counted(*[10.0] * intervals)) for intervals in (1, 3, 6, 12)]

    assert rates == sorted(rates)
    assert rates[0] < 0.7 * 2.0
    assert rates[-1] == pytest.approx(2.0)
