from __future__ import annotations

import pytest

from dynamo_operator.local.figures import Figures, Sample, figures, sample, totals

PAGE = """\
# HELP vllm:prefix_cache_queries_total tokens
# TYPE vllm:prefix_cache_queries_total counter
vllm:prefix_cache_queries_total{engine="0",model_name="a b}c"} 300
vllm:prefix_cache_queries_total{engine="1",model_name="m"} 100.0
vllm:prefix_cache_hits_total{engine="0"} 1e2
vllm:request_success_total{finished_reason="stop"} 3
vllm:request_success_total{finished_reason="length"} 2 1700000000
vllm:generation_tokens_total 50
broken line
also_broken{x="
"""


def test_a_metric_is_summed_over_its_labels() -> None:
    assert totals(PAGE) == {
        "vllm:prefix_cache_queries_total": 400,
        "vllm:prefix_cache_hits_total": 100,
        "vllm:request_success_total": 5,
        "vllm:generation_tokens_total": 50,
    }


def test_a_worker_is_read_by_the_engines_names() -> None:
    assert sample(PAGE, is_frontend=False, at_s=7) == Sample(at_s=7, requests=5, tokens=50, queries=400, hits=100)


def test_a_frontend_is_read_by_its_own_names() -> None:
    page = 'dynamo_frontend_requests_total{model="m"} 4\ndynamo_frontend_output_tokens_total{model="m"} 80\n'

    assert sample(page, is_frontend=True, at_s=7) == Sample(at_s=7, requests=4, tokens=80, queries=0, hits=0)


@pytest.mark.parametrize(
    ("earlier", "expected"),
    [
        pytest.param(Sample(2, 0, 20, 0, 0), Figures(5, 15.0, 0.25), id="rate-over-the-time-between"),
        pytest.param(Sample(2, 9, 90, 0, 0), Figures(5, 0.0, 0.25), id="a-restart-counts-as-standing-still"),
        pytest.param(Sample(4, 0, 20, 0, 0), Figures(5, 0.0, 0.25), id="no-time-no-rate"),
        pytest.param(None, Figures(5, 0.0, 0.25), id="first-sample"),
    ],
)
def test_figures_compare_two_samples(earlier: Sample | None, expected: Figures) -> None:
    assert figures(earlier, Sample(4, 5, 50, 400, 100)) == expected


def test_no_lookup_means_no_hit_ratio() -> None:
    assert figures(None, Sample(4, 5, 50, 0, 0)).hit_ratio is None
