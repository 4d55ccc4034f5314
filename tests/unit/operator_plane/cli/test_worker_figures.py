from __future__ import annotations

import pytest

from dynamo_operator.cli.watching import metrics_port
from dynamo_operator.cli.worker_figures import reading, worker_figures

VLLM = """\
vllm:num_requests_running{{engine="0"}} {running}
vllm:num_requests_waiting{{engine="0"}} 2
vllm:kv_cache_usage_perc{{engine="0"}} 0.2
vllm:kv_cache_usage_perc{{engine="1"}} 0.4
vllm:generation_tokens_total{{engine="0"}} {tokens}
vllm:time_to_first_token_seconds_sum{{engine="0"}} {ttft}
vllm:time_to_first_token_seconds_count{{engine="0"}} {requests}
vllm:prefix_cache_queries_total{{engine="0"}} {tokens}
vllm:prefix_cache_hits_total{{engine="0"}} {hits}
"""
SGLANG = "sglang:num_running_reqs 5\nsglang:num_queue_reqs 1\nsglang:token_usage 0.5\n"


def a_page(running: int = 1, tokens: int = 0, ttft: float = 0, requests: int = 0, hits: int = 0) -> str:
    return VLLM.format(running=running, tokens=tokens, ttft=ttft, requests=requests, hits=hits)


def test_rates_and_means_are_of_what_happened_in_between() -> None:
    earlier = reading(a_page(tokens=100, ttft=9.0, requests=10, hits=10), 10.0)
    found = worker_figures(earlier, reading(a_page(3, tokens=300, ttft=9.5, requests=12, hits=60), 12.0))

    assert (found.running, found.waiting) == (3, 2)
    assert (found.tokens_per_s, found.ttft_s, found.hit_share) == (100, 0.25, 0.25)


def test_kv_use_is_the_mean_of_the_ranks() -> None:
    assert worker_figures(None, reading(a_page(), 0.0)).kv_share == pytest.approx(0.3)


def test_one_reading_gives_levels_only() -> None:
    found = worker_figures(None, reading(a_page(tokens=100), 0.0))

    assert (found.running, found.tokens_per_s, found.ttft_s) == (1, None, None)


def test_a_worker_that_was_restarted_in_between_has_no_rates() -> None:
    earlier = reading(a_page(tokens=100, ttft=5, requests=5), 0.0)
    found = worker_figures(earlier, reading(a_page(tokens=50, ttft=1, requests=1), 2.0))

    assert (found.tokens_per_s, found.ttft_s, found.hit_share) == (None, None, None)


def test_other_engines_are_read_by_their_own_names() -> None:
    found = worker_figures(None, reading(SGLANG, 0.0))

    assert (found.running, found.waiting, found.kv_share) == (5, 1, 0.5)


def test_an_empty_page_says_nothing() -> None:
    found = worker_figures(reading("", 0.0), reading("", 1.0))

    assert (found.running, found.kv_share, found.tokens_per_s) == (None, None, None)


def test_metrics_are_read_where_the_pod_says_system() -> None:
    ports = [{"name": "http", "containerPort": 8000}, {"name": "system", "containerPort": 9091}]

    assert metrics_port({"spec": {"containers": [{"ports": ports}]}}) == 9091
    assert metrics_port({"spec": {"containers": [{}]}}) == 9090
