"""What workers do, from two readings of their metrics pages. Pure; called by `dynamo top`.

Levels are of the later reading; rates and means are of what happened between the two, None where nothing did.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dynamo_operator.local.figures import totals

# Per figure: the families that hold it, by engine; the first on the page counts.
_RUNNING = ("vllm:num_requests_running", "sglang:num_running_reqs", "dynamo_component_inflight_requests")
_WAITING = ("vllm:num_requests_waiting", "sglang:num_queue_reqs")
_KV_SHARE = (
    "vllm:kv_cache_usage_perc",
    "sglang:token_usage",
    "trtllm_kv_cache_utilization",
    "dynamo_component_gpu_cache_usage_percent",
)
_TOKENS = ("vllm:generation_tokens_total", "sglang:generation_tokens_total")
_TTFT = (
    "vllm:time_to_first_token_seconds",
    "sglang:time_to_first_token_seconds",
    "trtllm_time_to_first_token_seconds",
)
_ITL = (
    "vllm:inter_token_latency_seconds",
    "sglang:inter_token_latency_seconds",
    "trtllm_time_per_output_token_seconds",
)
_LOOKED_UP = ("vllm:prefix_cache_queries_total", "sglang:prompt_tokens_total")
_CACHED = ("vllm:prefix_cache_hits_total", "sglang:cached_tokens_total")


@dataclass(frozen=True, slots=True)
class Reading:
    """Sums over all labels of one page, read at `at_s`; a share is the mean of the worker's ranks."""

    at_s: float
    sums: Mapping[str, float]
    kv_share: float | None


@dataclass(frozen=True, slots=True)
class WorkerFigures:
    """`ttft_s`, `itl_s`: means. `kv_share`, `hit_share`: 0 to 1. None: unknown, or nothing happened."""

    running: float | None
    waiting: float | None
    kv_share: float | None
    tokens_per_s: float | None
    ttft_s: float | None
    itl_s: float | None
    hit_share: float | None


def reading(page: str, at_s: float) -> Reading:
    sums = totals(page)
    family = next((name for name in _KV_SHARE if name in sums), None)
    return Reading(at_s, sums, None if family is None else sums[family] / _series(page, family))


def worker_figures(earlier: Reading | None, now: Reading) -> WorkerFigures:
    """Without an earlier reading, levels only."""
    return WorkerFigures(
        running=_level(now, _RUNNING),
        waiting=_level(now, _WAITING),
        kv_share=now.kv_share,
        tokens_per_s=_rate(earlier, now, _TOKENS),
        ttft_s=_mean(earlier, now, _TTFT),
        itl_s=_mean(earlier, now, _ITL),
        hit_share=_share(_growth(earlier, now, _CACHED), _growth(earlier, now, _LOOKED_UP)),
    )


def _series(page: str, family: str) -> int:
    return sum(line.startswith((f"{family}{{", f"{family} ")) for line in page.splitlines())


def _level(now: Reading, families: tuple[str, ...]) -> float | None:
    return next((now.sums[name] for name in families if name in now.sums), None)


def _growth(earlier: Reading | None, now: Reading, families: tuple[str, ...]) -> float | None:
    """None where either reading lacks it, or where a counter went back: the worker was restarted in between."""
    for name in families:
        if earlier is not None and name in now.sums and name in earlier.sums:
            grown = now.sums[name] - earlier.sums[name]
            return grown if grown >= 0 else None
    return None


def _rate(earlier: Reading | None, now: Reading, families: tuple[str, ...]) -> float | None:
    grown = _growth(earlier, now, families)
    if grown is None or earlier is None or now.at_s <= earlier.at_s:
        return None
    return grown / (now.at_s - earlier.at_s)


def _mean(earlier: Reading | None, now: Reading, families: tuple[str, ...]) -> float | None:
    sums = _growth(earlier, now, tuple(f"{name}_sum" for name in families))
    return _share(sums, _growth(earlier, now, tuple(f"{name}_count" for name in families)))


def _share(part: float | None, whole: float | None) -> float | None:
    return part / whole if part is not None and whole else None
