"""What a running graph did, from the metrics pages of its processes. Pure; called by the live table."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

_REQUESTS = {True: "dynamo_frontend_requests_total", False: "vllm:request_success_total"}
_TOKENS = {True: "dynamo_frontend_output_tokens_total", False: "vllm:generation_tokens_total"}


@dataclass(frozen=True, slots=True)
class Sample:
    """Counters of one process at `at_s`; `queries` and `hits` count tokens looked up and found in the prefix cache."""

    at_s: float
    requests: float
    tokens: float
    queries: float
    hits: float


@dataclass(frozen=True, slots=True)
class Figures:
    requests: int
    tokens_per_s: float
    hit_ratio: float | None
    """Share of prompt tokens found in the worker's cache; None before the first prompt and for frontends."""


def totals(page: str) -> Mapping[str, float]:
    """Each metric's value summed over its labels. Lines that are no samples are passed over."""
    sums: dict[str, float] = defaultdict(float)
    for line in page.splitlines():
        if not line or line.startswith("#"):
            continue
        name, brace, rest = line.partition("{")
        value = rest.rpartition("}")[2] if brace else name.partition(" ")[2]
        try:
            number = float(value.split()[0])
        except (ValueError, IndexError):
            continue
        sums[name.partition(" ")[0]] += number
    return sums


def sample(page: str, *, is_frontend: bool, at_s: float) -> Sample:
    sums = totals(page)
    return Sample(
        at_s=at_s,
        requests=sums.get(_REQUESTS[is_frontend], 0.0),
        tokens=sums.get(_TOKENS[is_frontend], 0.0),
        queries=sums.get("vllm:prefix_cache_queries_total", 0.0),
        hits=sums.get("vllm:prefix_cache_hits_total", 0.0),
    )


def figures(earlier: Sample | None, now: Sample) -> Figures:
    """Rates are over the time between the samples; a counter that went back (a restart) counts as standing still."""
    rate = 0.0
    if earlier is not None and now.at_s > earlier.at_s:
        rate = max(0.0, now.tokens - earlier.tokens) / (now.at_s - earlier.at_s)
    return Figures(int(now.requests), rate, now.hits / now.queries if now.queries else None)
