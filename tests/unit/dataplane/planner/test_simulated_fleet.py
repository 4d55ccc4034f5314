"""What the planner's decisions do to users and to the bill, in a queueing model on virtual time."""

from __future__ import annotations

import csv
import datetime
import gzip
import json

import pytest

from dynamo.planner.decide import settle_s
from tests.shared import shared
from tests.unit.dataplane.planner.simulation import Outcome, Request, Speed, a_policy, poisson, simulate

SLOW = Speed(prefill_token_s=0.0004)
"""0.42 s per average prompt."""
TTFT_S = 1.0


def static(requests: list[Request], speed: Speed, workers: int, until_s: float, ttft_s: float = TTFT_S) -> Outcome:
    return simulate(requests, a_policy(ttft_s=ttft_s), speed, until_s=until_s, workers=workers, is_static=True)


def test_steady_load_is_served_without_flapping() -> None:
    outcome = simulate(poisson([(1800, 4)]), a_policy(), SLOW, until_s=1800, workers=2)

    assert outcome.attainment(TTFT_S) > 0.97
    assert (outcome.flips, len(outcome.changes)) <= (0, 3)
    assert outcome.replicas_at(1800, 2) == 4


@pytest.mark.parametrize("seed", range(5))
def test_tripled_load_is_met_within_a_start_and_given_back_after(seed: int) -> None:
    requests = poisson([(600, 3), (600, 9), (900, 3)], seed=seed)

    outcome = simulate(requests, a_policy(), SLOW, until_s=2100, workers=2)

    before, during, after = (outcome.replicas_at(at_s, 2) for at_s in (600, 660, 2100))
    assert during >= before + 2
    assert after < during
    assert outcome.replicas_at(620, 2) >= before + 2, "several at once, not one per start"
    assert outcome.flips <= 4
    assert outcome.attainment(TTFT_S) > 0.9
    assert outcome.gpu_s < static(requests, SLOW, 6, 2100).gpu_s


def test_workers_go_within_the_settling_time_of_a_load_that_ends() -> None:
    policy = a_policy(tick_s=5, settle_s=30)

    outcome = simulate(poisson([(300, 9), (300, 0)]), policy, Speed(startup_s=5, prefill_token_s=0.0004),
                       until_s=600, workers=2)  # fmt: skip

    assert outcome.replicas_at(299, 2) >= 5
    assert outcome.replicas_at(300 + policy.pace.steady_s + settle_s(policy, 5) + policy.pace.tick_s, 2) == 1


def test_no_traffic_at_all_falls_to_the_floor_once() -> None:
    outcome = simulate([], a_policy(floor=2), SLOW, until_s=900, workers=6)

    assert outcome.replicas_at(900, 6) == 2
    assert len(outcome.changes) == 1


def test_ramp_is_followed_ahead_of_its_queue() -> None:
    outcome = simulate(poisson([(60, step * 0.3) for step in range(1, 30)]), a_policy(), SLOW, until_s=1740, workers=2)

    assert outcome.attainment(TTFT_S) > 0.95
    assert outcome.flips == 0


def test_budget_is_never_exceeded() -> None:
    outcome = simulate(poisson([(300, 40)]), a_policy(gpus=5), SLOW, until_s=600, workers=2)

    assert max(after for _, _, after in outcome.changes) == 5
    assert "max_gpu_budget 5" in outcome.decisions[20][1].reason


def test_inter_token_target_sizes_decode() -> None:
    crowded = Speed(prefill_token_s=0.00001, itl_base_s=0.01, itl_stream_s=0.004)
    requests = poisson([(1200, 6)], osl=200)

    outcome = simulate(requests, a_policy(), crowded, until_s=1200, workers=1)

    settled = outcome.itl_s[len(outcome.itl_s) // 2 :]
    assert sum(settled) / len(settled) < 0.05
    assert sum(one <= 0.055 for one in settled) > 0.9 * len(settled)
    assert outcome.replicas_at(1200, 1) <= 9


def test_unreachable_inter_token_target_does_not_eat_the_budget() -> None:
    slow_tokens = Speed(prefill_token_s=0.00001, itl_base_s=0.2, itl_stream_s=0.0001)

    outcome = simulate(poisson([(900, 1)], osl=20), a_policy(), slow_tokens, until_s=900, workers=2)

    assert outcome.replicas_at(900, 2) <= 3


@pytest.mark.slow
def test_real_conversations_cost_less_than_the_fixed_fleet_that_serves_them() -> None:
    with shared("data/azure2023_conv.csv").open() as lines:
        rows = list(csv.DictReader(lines))
    times = [datetime.datetime.fromisoformat(row["TIMESTAMP"][:26]).timestamp() for row in rows]
    requests = [
        Request(at_s - times[0], int(row["ContextTokens"]), max(2, int(row["GeneratedTokens"])))
        for at_s, row in zip(times, rows, strict=True)
    ]
    speed = Speed(prefill_token_s=0.0003, itl_base_s=0.015, kv_tokens=100_000, streams_max=40)

    outcome = simulate(requests, a_policy(ttft_s=2.0), speed, until_s=3500, workers=2)
    four, five = (static(requests, speed, workers, 3500, 2.0) for workers in (4, 5))

    assert outcome.attainment(2.0) > 0.98 > four.attainment(2.0)
    assert outcome.gpu_s < 0.9 * five.gpu_s
    assert outcome.flips <= 8


@pytest.mark.slow
def test_long_prompts_are_served_from_a_cold_start() -> None:
    with gzip.open(shared("data/mooncake_conversation_trace.jsonl.gz"), "rt") as lines:
        found = [json.loads(line) for line in lines]
    requests = [Request(one["timestamp"] / 1000, one["input_length"], max(2, one["output_length"])) for one in found]
    speed = Speed(itl_base_s=0.015, kv_tokens=600_000)

    outcome = simulate(requests, a_policy(ttft_s=8.0), speed, until_s=3500, workers=4)

    assert outcome.attainment(8.0) > 0.97
    assert outcome.gpu_s < static(requests, speed, 10, 3500, 8.0).gpu_s
    assert outcome.flips <= 4
