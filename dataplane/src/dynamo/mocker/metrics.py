"""The engine's Prometheus families, by vLLM's names, labels and buckets.

Counted by the rank loops, rendered on scrape. Own counters instead of a client library's: inter-token latency is
observed once per token, so it must cost a bisection and two additions.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from dynamo.mocker.scheduler import Scheduler

_TTFT_S = (
    *(0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0),
    *(160.0, 640.0, 2560.0),
)
_ITL_S = (*(0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0),)
_REQUEST_S = (
    *(0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 60.0, 120.0, 240.0, 480.0, 960.0),
    *(1920.0, 7680.0),
)
_TOKENS = tuple(float(step * 10**power) for power in range(7) for step in (1, 2, 5))


class Histogram:
    """Counts of values up to each bound, as Prometheus wants them."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def observe(self, value: float) -> None:
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def lines(self, name: str, labels: str) -> Iterable[str]:
        total = 0
        for bound, count in zip((*map(_number, self._bounds), "+Inf"), self._counts, strict=True):
            total += count
            yield f'{name}_bucket{{{labels},le="{bound}"}} {total}'
        yield f"{name}_sum{{{labels}}} {_number(self._sum)}"
        yield f"{name}_count{{{labels}}} {total}"


@dataclass(slots=True)
class RankMetrics:
    """What one rank counted since the start; changed by its loop only."""

    prompt_tokens: int = 0
    generation_tokens: int = 0
    transferred_prompt_tokens: int = 0
    finished: dict[str, int] = field(default_factory=lambda: dict.fromkeys(("stop", "length", "abort", "error"), 0))
    ttft_s: Histogram = field(default_factory=lambda: Histogram(_TTFT_S))
    itl_s: Histogram = field(default_factory=lambda: Histogram(_ITL_S))
    tpot_s: Histogram = field(default_factory=lambda: Histogram(_ITL_S))
    e2e_s: Histogram = field(default_factory=lambda: Histogram(_REQUEST_S))
    queue_s: Histogram = field(default_factory=lambda: Histogram(_REQUEST_S))
    prefill_s: Histogram = field(default_factory=lambda: Histogram(_REQUEST_S))
    decode_s: Histogram = field(default_factory=lambda: Histogram(_REQUEST_S))
    request_prompt_tokens: Histogram = field(default_factory=lambda: Histogram(_TOKENS))
    request_generation_tokens: Histogram = field(default_factory=lambda: Histogram(_TOKENS))


_HISTOGRAMS = (
    ("vllm:time_to_first_token_seconds", "ttft_s", "Histogram of time to first token in seconds."),
    ("vllm:inter_token_latency_seconds", "itl_s", "Histogram of inter-token latency in seconds."),
    ("vllm:request_time_per_output_token_seconds", "tpot_s", "Histogram of time per output token per request."),
    ("vllm:e2e_request_latency_seconds", "e2e_s", "Histogram of e2e request latency in seconds."),
    ("vllm:request_queue_time_seconds", "queue_s", "Histogram of time spent in WAITING phase."),
    ("vllm:request_prefill_time_seconds", "prefill_s", "Histogram of time spent in PREFILL phase."),
    ("vllm:request_decode_time_seconds", "decode_s", "Histogram of time spent in DECODE phase."),
    ("vllm:request_prompt_tokens", "request_prompt_tokens", "Number of prefill tokens processed."),
    ("vllm:request_generation_tokens", "request_generation_tokens", "Number of generation tokens processed."),
)


def render(model: str, ranks: Sequence[tuple[Scheduler, RankMetrics]], loras: Sequence[str]) -> bytes:
    """Prometheus text of all families; one series per rank (label `engine`)."""
    labels = [f'engine="{rank}",model_name="{_escaped(model)}"' for rank in range(len(ranks))]
    lines: list[str] = []
    for name, kind, help_text, values in _simple_families(ranks):
        lines += [f"# HELP {name} {help_text}", f"# TYPE {name} {kind}"]
        lines += [f"{name}{{{label}}} {_number(value)}" for label, value in zip(labels, values, strict=True)]
    name = "vllm:request_success_total"
    lines += [f"# HELP {name} Count of successfully processed requests.", f"# TYPE {name} counter"]
    for label, (_, metrics) in zip(labels, ranks, strict=True):
        lines += [f'{name}{{{label},finished_reason="{why}"}} {count}' for why, count in metrics.finished.items()]
    for name, attribute, help_text in _HISTOGRAMS:
        lines += [f"# HELP {name} {help_text}", f"# TYPE {name} histogram"]
        for label, (_, metrics) in zip(labels, ranks, strict=True):
            lines += getattr(metrics, attribute).lines(name, label)
    lines += _info_lines(ranks, loras)
    return ("\n".join(lines) + "\n").encode()


def _simple_families(
    ranks: Sequence[tuple[Scheduler, RankMetrics]],
) -> Iterable[tuple[str, str, str, Sequence[float]]]:
    loads = [scheduler.load() for scheduler, _ in ranks]
    usage = [load.active_blocks / load.total_blocks for load in loads]
    schedulers = [scheduler for scheduler, _ in ranks]
    counted = [metrics for _, metrics in ranks]
    yield from (
        ("vllm:num_requests_running", "gauge", "Number of requests in model execution.", [x.running for x in loads]),
        ("vllm:num_requests_waiting", "gauge", "Number of requests waiting.", [x.waiting for x in loads]),
        ("vllm:kv_cache_usage_perc", "gauge", "KV-cache usage. 1 means 100 percent usage.", usage),
        ("vllm:gpu_cache_usage_perc", "gauge", "KV-cache usage, by its older name.", usage),
        (
            "vllm:prefix_cache_queries_total",
            "counter",
            "Prefix cache queries, in terms of tokens.",
            [x.prefix_queries for x in schedulers],
        ),
        (
            "vllm:prefix_cache_hits_total",
            "counter",
            "Prefix cache hits, in terms of tokens.",
            [x.prefix_hits for x in schedulers],
        ),
        (
            "vllm:external_prefix_cache_hits_total",
            "counter",
            "Prompt tokens that came from another worker.",
            [x.transferred_prompt_tokens for x in counted],
        ),
        ("vllm:num_preemptions_total", "counter", "Number of preemptions.", [x.preemptions for x in schedulers]),
        ("vllm:prompt_tokens_total", "counter", "Prefill tokens processed.", [x.prompt_tokens for x in counted]),
        ("vllm:generation_tokens_total", "counter", "Generated tokens.", [x.generation_tokens for x in counted]),
    )


def _info_lines(ranks: Sequence[tuple[Scheduler, RankMetrics]], loras: Sequence[str]) -> Iterable[str]:
    yield "# HELP vllm:cache_config_info Information of the LLMEngine CacheConfig"
    yield "# TYPE vllm:cache_config_info gauge"
    for rank, (scheduler, _) in enumerate(ranks):
        limits = scheduler.limits
        yield (
            f'vllm:cache_config_info{{block_size="{limits.block_size}",enable_prefix_caching="{limits.prefix_caching}",'
            f'engine="{rank}",num_gpu_blocks="{limits.total_blocks}"}} 1'
        )
    yield "# HELP vllm:lora_requests_info Adapters that are loaded."
    yield "# TYPE vllm:lora_requests_info gauge"
    yield f'vllm:lora_requests_info{{loaded_lora_adapters="{_escaped(",".join(loras))}"}} {len(loras)}'


def _number(value: float) -> str:
    return f"{int(value)}" if value == int(value) else repr(float(value))


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
