"""The queue's arithmetic against a plain simulation and against what must always hold."""

from __future__ import annotations

import heapq
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynamo.planner.queueing import servers_for, wait_exceeds


def simulated(rate: float, service_s: float, servers: int, slack_s: float, customers: int = 40_000) -> float:
    """Share of customers of an M/M/c queue that waited longer."""
    rng, now_s, late = random.Random(1), 0.0, 0
    free = [0.0] * servers
    for _ in range(customers):
        now_s += rng.expovariate(rate)
        began_s = max(now_s, heapq.heappop(free))
        heapq.heappush(free, began_s + rng.expovariate(1 / service_s))
        late += began_s - now_s > slack_s
    return late / customers


@pytest.mark.parametrize(
    ("rate", "servers", "slack_s"),
    [
        pytest.param(0.7, 1, 1.0, id="one-server"),
        pytest.param(3.2, 4, 0.5, id="busy-four"),
        pytest.param(8.0, 10, 0.0, id="anybody-who-waits"),
        pytest.param(5.0, 10, 0.2, id="half-idle"),
    ],
)
def test_tail_matches_a_simulated_queue(rate: float, servers: int, slack_s: float) -> None:
    assert wait_exceeds(rate, 1.0, servers, slack_s, 1.0) == pytest.approx(
        simulated(rate, 1.0, servers, slack_s), abs=0.05
    )


def test_full_servers_make_everybody_wait() -> None:
    assert wait_exceeds(4.0, 1.0, 4, 10.0, 1.0) == 1.0


@given(
    rate=st.floats(0.01, 50),
    service_s=st.floats(0.001, 5),
    slack_s=st.floats(0, 5),
    variability=st.floats(0.1, 10),
    miss_share=st.floats(0.001, 0.5),
)
def test_answer_is_the_fewest_servers_that_do(
    rate: float, service_s: float, slack_s: float, variability: float, miss_share: float
) -> None:
    servers = servers_for(rate, service_s, slack_s, variability=variability, miss_share=miss_share, utilisation=0.8)

    def does(count: int) -> bool:
        is_idle_enough = rate * service_s <= count * 0.8
        return is_idle_enough and wait_exceeds(rate, service_s, count, slack_s, variability) <= miss_share

    assert does(servers)
    assert servers == 1 or not does(servers - 1)


def test_burstier_arrivals_need_more_servers() -> None:
    def needed(variability: float) -> int:
        return servers_for(10, 0.5, 0.3, variability=variability, miss_share=0.02, utilisation=0.95)

    assert needed(0.5) < needed(1.0) < needed(5.0)
