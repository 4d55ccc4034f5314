"""The router against a simulated fleet: hit ratios where caches are short, and balance where prefixes are hot."""

from __future__ import annotations

import pytest

from dynamo.router import CostWeights, Mode, RouterConfig
from tests.unit.dataplane.router.simulation import grouped_prompts, simulate

KV = RouterConfig(mode=Mode.KV)
UPSTREAM = RouterConfig(mode=Mode.KV, weights=CostWeights(duplicate=0.0, eviction=0.0), predicted_ttl_s=None)


@pytest.mark.parametrize("order", ["random", "round-robin", "grouped"])
@pytest.mark.parametrize("seed", [1, 2])
def test_groups_that_fit_no_single_worker_are_shared_out(order: str, seed: int) -> None:
    result = simulate(KV, grouped_prompts(order, seed), seed=seed)
    assert result.hit_ratio > 0.94


@pytest.mark.parametrize("requests_per_group", [64, 96, 128])
def test_groups_that_last_longer_are_copied_only_when_that_pays(requests_per_group: int) -> None:
    prompts = grouped_prompts("grouped", 1, groups=8, requests=8 * requests_per_group)
    assert simulate(KV, prompts, seed=1).hit_ratio > 0.94


@pytest.mark.parametrize("event_lag_s", [0.0, 0.5])
def test_late_events_cost_no_hits(event_lag_s: float) -> None:
    assert simulate(KV, grouped_prompts("random", 3), seed=3, event_lag_s=event_lag_s).hit_ratio > 0.94


@pytest.mark.parametrize(
    "config", [pytest.param(RouterConfig(), id="round-robin"), pytest.param(UPSTREAM, id="upstreams-cost-alone")]
)
def test_the_workload_tells_routers_apart(config: RouterConfig) -> None:
    assert simulate(config, grouped_prompts("random", 1), seed=1).hit_ratio < 0.75


def test_without_events_the_groups_are_shared_out_too() -> None:
    config = RouterConfig(mode=Mode.KV, uses_kv_events=False)
    assert simulate(config, grouped_prompts("random", 1), seed=1).hit_ratio > 0.94


@pytest.mark.parametrize(
    ("groups", "requests"),
    [pytest.param(400, 400, id="unique-prompts"), pytest.param(1, 1200, id="one-system-prompt-for-all")],
)
def test_load_reaches_every_worker_evenly(groups: int, requests: int) -> None:
    prompts = grouped_prompts("random", 1, groups=groups, requests=requests, unique=20, output=32)
    result = simulate(KV, prompts, seed=1, blocks_per_worker=16_384, concurrency=32)
    assert max(result.served) < 1.4 * min(result.served)


def test_proving_a_hot_prefix_before_it_is_copied_hardly_slows_the_fleet() -> None:
    prompts = grouped_prompts("random", 1, groups=2, requests=1200, unique=20, output=32)
    ours = simulate(KV, prompts, seed=1, workers=4, blocks_per_worker=16_384, concurrency=32)
    base = simulate(UPSTREAM, prompts, seed=1, workers=4, blocks_per_worker=16_384, concurrency=32)
    assert ours.duration_s < 1.1 * base.duration_s
    assert ours.hit_ratio >= base.hit_ratio
