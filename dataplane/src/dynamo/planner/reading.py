"""Prometheus text of one frontend or worker, read into a few sums. Pure.

Only families that sizing uses are parsed, so that a page of a thousand series costs little. Label sets are summed;
numbers that are not finite are named instead of used. Called by `measure` with what `scrape` fetched.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

UNKNOWN_MODEL = "unknown"
"""The frontend's label for requests whose model nobody serves: no worker could help them."""

_HISTOGRAMS = {
    "time_to_first_token_seconds": "ttft",
    "inter_token_latency_seconds": "itl",
    "input_sequence_tokens": "isl",
    "output_sequence_tokens": "osl",
    "cached_tokens": "cached",
    "request_duration_seconds": "duration",
}
_FRONTEND_TOTALS = {
    "requests_started_total": "arrivals",
    "requests_total": "completions",
    **{f"{name}_{part}": f"{key}_{part}" for name, key in _HISTOGRAMS.items() for part in ("sum", "count")},
}
_FRONTEND_LEVELS = {
    "inflight_requests": "in_flight",
    "queued_requests": "queued",
    "model_max_num_seqs": "max_num_seqs",
}
_BUCKETS = "input_sequence_tokens_bucket"

_WORKER_TOTALS = {
    "vllm:request_prefill_time_seconds_sum": "prefill_sum",
    "vllm:request_prefill_time_seconds_count": "prefill_count",
    "vllm:inter_token_latency_seconds_sum": "itl_sum",
    "vllm:inter_token_latency_seconds_count": "itl_count",
}
_WORKER_LEVELS = {
    "vllm:num_requests_running": "running",
    "vllm:num_requests_waiting": "waiting",
    "vllm:kv_cache_usage_perc": "kv_share",
    "sglang:num_running_reqs": "running",
    "sglang:num_queue_reqs": "waiting",
    "sglang:token_usage": "kv_share",
}
_WORKER_FALLBACKS = {
    "dynamo_component_inflight_requests": "running",
    "dynamo_component_gpu_cache_usage_percent": "kv_share",
}
"""What our worker says of any engine, for those whose own families are not known here."""


class Unreadable(Exception):
    """The page is no Prometheus text, or lacks what every frontend or worker exports."""


@dataclass(frozen=True, slots=True)
class Reading:
    totals: Mapping[str, float]
    """Counters since the process started."""
    levels: Mapping[str, float]
    """Gauges, summed over label sets; shares are means."""
    buckets: Mapping[float, float] = field(default_factory=dict)
    """Prompt lengths: requests up to each bound."""
    odd: tuple[str, ...] = ()
    """Series that are no finite numbers."""


def read_frontend(text: str, *, prefix: str, model: str | None = None) -> Reading:
    """`model` limits to one served model, compared without case."""
    counter = f"{prefix}_requests_started_total"
    # Counters have no series before the first request, but the page names them.
    if counter not in text:
        raise Unreadable(f"{counter} is missing")
    totals = {f"{prefix}_{name}": key for name, key in _FRONTEND_TOTALS.items()}
    levels = {f"{prefix}_{name}": key for name, key in _FRONTEND_LEVELS.items()}

    def counts(labels: Mapping[str, str]) -> bool:
        name = labels.get("model", "")
        return name != UNKNOWN_MODEL and (model is None or name.lower() == model.lower())

    return _read(text, totals, levels, f"{prefix}_{_BUCKETS}", counts)


def read_worker(text: str) -> Reading:
    found = _read(text, _WORKER_TOTALS, _WORKER_LEVELS, None, lambda _: True)
    if "running" in found.levels or found.odd:
        return found
    found = _read(text, {}, _WORKER_FALLBACKS, None, lambda _: True)
    if "running" not in found.levels and not found.odd:
        raise Unreadable("no family tells how many requests run")
    return found


def _read(
    text: str,
    totals: Mapping[str, str],
    levels: Mapping[str, str],
    buckets: str | None,
    counts: Callable[[Mapping[str, str]], bool],
) -> Reading:
    sums: dict[str, float] = {}
    parts: dict[str, list[float]] = {}
    bounds: dict[float, float] = {}
    odd: list[str] = []
    for sample in _samples(text, (*totals, *levels, *([buckets] if buckets else []))):
        if not counts(sample.labels):
            continue
        if not math.isfinite(sample.value) or sample.value < 0:
            odd.append(sample.name)
        elif sample.name in totals:
            key = totals[sample.name]
            sums[key] = sums.get(key, 0.0) + sample.value
        elif sample.name in levels:
            parts.setdefault(levels[sample.name], []).append(sample.value)
        elif sample.name == buckets:
            bound = float(sample.labels.get("le", "inf"))
            bounds[bound] = bounds.get(bound, 0.0) + sample.value
    return Reading(sums, {key: _joined(key, found) for key, found in parts.items()}, bounds, tuple(dict.fromkeys(odd)))


def _joined(key: str, found: list[float]) -> float:
    if key == "kv_share":
        return sum(found) / len(found)
    if key == "max_num_seqs":
        return min((value for value in found if value > 0), default=0.0)
    return sum(found)


def _samples(text: str, names: tuple[str, ...]) -> Iterator[Sample]:
    wanted = [line for line in text.splitlines() if line.startswith(names)]
    try:
        for family in text_string_to_metric_families("\n".join(wanted) + "\n"):
            yield from (sample for sample in family.samples if sample.name in names)
    except (ValueError, KeyError, IndexError) as error:
        # The parser raises what its string handling runs into.
        raise Unreadable(f"not Prometheus text: {str(error)[:120]}") from error
