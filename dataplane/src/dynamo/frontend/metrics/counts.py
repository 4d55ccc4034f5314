"""The frontend's numbers: plain attributes that the request path adds to.

One `ModelCounts` per served model, one `Counts` per process. Model names come from the fleet, never from requests, so
that strangers cannot make series. `exposition` reads them; nothing here knows Prometheus.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from dynamo.frontend.metrics.histogram import Histogram
from dynamo.router import Decision

DURATION_S = (0, 2, 4, 8, 16, 32, 64, 130, 260, 510)
TTFT_S = (0, 0.0022, 0.0047, 0.01, 0.022, 0.047, 0.1, 0.22, 0.47, 1, 2.2, 4.7, 10, 22, 48, 100, 220, 480)
ITL_S = (
    *(0, 0.0018, 0.0033, 0.0059, 0.011, 0.02, 0.035, 0.064, 0.12, 0.21),
    *(0.38, 0.69, 1.2, 2.3, 4.1, 7.4, 13, 24, 44, 80),
)
INPUT_TOKENS = (0, 100, 210, 430, 870, 1800, 3600, 7400, 15000, 31000, 63000, 130000)
OUTPUT_TOKENS = (0, 100, 210, 430, 880, 1800, 3700, 7600, 16000, 32000)
STAGE_S = (0.0001, 0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 2.5, 5)
TOKENIZE_S = (0.0001, 0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1)
TEMPLATE_S = (0.00001, 0.00005, 0.0001, 0.0005, 0.001, 0.005, 0.01, 0.05)
LOOP_DELAY_S = (0, 0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1)
ROUNDTRIP_S = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)
ROUTER_ITL_S = (0, 0.0019, 0.0035, 0.0067, 0.013, 0.024, 0.045, 0.084, 0.16, 0.3, 0.56, 1.1, 2)
HIT_RATE = tuple(step / 20 for step in range(21))
OVERLAP_LOST = (0.25, 0.5, *(2**power for power in range(14)))
HASHING_MS = tuple(0.001 * 2**power for power in range(15))
OVERHEAD_MS = tuple(0.01 * 3**power for power in range(17))

UNKNOWN_MODEL = "unknown"
"""Label of requests for models that are not served, whatever they asked for."""


@dataclass(slots=True)
class ModelCounts:
    """Numbers of one model."""

    started: Counter[tuple[str, str]] = field(default_factory=Counter)
    """By (endpoint, request_type)."""
    finished: Counter[tuple[str, str, str, str]] = field(default_factory=Counter)
    """By (endpoint, request_type, status, error_type)."""
    cancelled: Counter[tuple[str, str]] = field(default_factory=Counter)
    rejected: Counter[str] = field(default_factory=Counter)
    """Refused for load, by endpoint."""
    active: int = 0
    """Requests between entry and completion."""
    queued: int = 0
    """Of those, the ones without a first token yet."""
    output_tokens: int = 0
    duration_s: Histogram = field(default_factory=lambda: Histogram(DURATION_S))
    ttft_s: Histogram = field(default_factory=lambda: Histogram(TTFT_S))
    itl_s: Histogram = field(default_factory=lambda: Histogram(ITL_S))
    input_tokens: Histogram = field(default_factory=lambda: Histogram(INPUT_TOKENS))
    cached_tokens: Histogram = field(default_factory=lambda: Histogram(INPUT_TOKENS))
    output_sequence_tokens: Histogram = field(default_factory=lambda: Histogram(OUTPUT_TOKENS))
    tokenizer_cached_tokens: int = 0
    tokenizer_uncached_tokens: int = 0


@dataclass(slots=True)
class RouterCounts:
    """Numbers of one model's router, as seen by requests."""

    started: int = 0
    finished: int = 0
    ttft_s: Histogram = field(default_factory=lambda: Histogram(TTFT_S))
    itl_s: Histogram = field(default_factory=lambda: Histogram(ROUTER_ITL_S))
    input_tokens: Histogram = field(default_factory=lambda: Histogram(INPUT_TOKENS))
    output_tokens: Histogram = field(default_factory=lambda: Histogram(OUTPUT_TOKENS))
    reused_tokens: int = 0
    """Prompt tokens that workers reported as cached."""
    hit_rate: Histogram = field(default_factory=lambda: Histogram(HIT_RATE))
    overlap_lost: Histogram = field(default_factory=lambda: Histogram(OVERLAP_LOST))
    not_best_overlap: int = 0
    """Decisions for a worker although another had more of the prompt cached."""
    best_cached_tokens: int = 0
    selected_cached_tokens: int = 0

    def decided(self, decision: Decision, block_size: int) -> None:
        self.started += 1
        if not decision.total_blocks:
            return
        self.hit_rate.observe(decision.overlap_blocks / decision.total_blocks)
        self.selected_cached_tokens += decision.overlap_blocks * block_size
        self.best_cached_tokens += decision.best_overlap_blocks * block_size
        if (lost := decision.best_overlap_blocks - decision.overlap_blocks) > 0:
            self.not_best_overlap += 1
            self.overlap_lost.observe(lost)


@dataclass(slots=True)
class WorkerCounts:
    """The last request of one (worker, data-parallel rank)."""

    ttft_s: float = 0.0
    itl_s: float = 0.0
    input_tokens: int = 0


@dataclass(slots=True)
class Counts:
    """Numbers of the process."""

    models: dict[str, ModelCounts] = field(default_factory=dict)
    workers: dict[tuple[int, int], WorkerCounts] = field(default_factory=dict)
    failures: Counter[tuple[str, str]] = field(default_factory=Counter)
    """By (class, reason)."""
    disconnected_clients: int = 0
    stage_s: dict[str, Histogram] = field(default_factory=dict)
    template_s: Histogram = field(default_factory=lambda: Histogram(TEMPLATE_S))
    tokenize_s: Histogram = field(default_factory=lambda: Histogram(TOKENIZE_S))
    tokenizer_cache_hits: int = 0
    tokenizer_cache_misses: int = 0
    loop_delay_s: Histogram = field(default_factory=lambda: Histogram(LOOP_DELAY_S))
    loop_stalls: int = 0
    routers: dict[str, RouterCounts] = field(default_factory=dict)
    """By model."""
    hashing_ms: Histogram = field(default_factory=lambda: Histogram(HASHING_MS))
    seq_hashing_ms: Histogram = field(default_factory=lambda: Histogram(HASHING_MS))
    deciding_ms: Histogram = field(default_factory=lambda: Histogram(OVERHEAD_MS))
    roundtrip_s: Histogram = field(default_factory=lambda: Histogram(ROUNDTRIP_S))
    """From sending a request to the worker to the first token back."""

    def model(self, name: str) -> ModelCounts:
        found = self.models.get(name)
        if found is None:
            found = self.models[name] = ModelCounts()
        return found

    def worker(self, worker_id: int, dp_rank: int) -> WorkerCounts:
        key = (worker_id, dp_rank)
        found = self.workers.get(key)
        if found is None:
            found = self.workers[key] = WorkerCounts()
        return found

    def stage(self, name: str) -> Histogram:
        found = self.stage_s.get(name)
        if found is None:
            found = self.stage_s[name] = Histogram(STAGE_S)
        return found

    def router(self, model: str) -> RouterCounts:
        found = self.routers.get(model)
        if found is None:
            found = self.routers[model] = RouterCounts()
        return found

    def drop_workers(self, keep: frozenset[int]) -> None:
        """Forgets workers that are gone, so that churn does not grow the page."""
        for key in [key for key in self.workers if key[0] not in keep]:
            del self.workers[key]
