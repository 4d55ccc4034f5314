"""The planner's own numbers as Prometheus text, under the names that dashboards know.

Set by `loop` after each tick, read by the servers of `status`. Aggregated workers are shown as decode workers.
"""

from __future__ import annotations

import enum

from prometheus_client import CollectorRegistry, Counter, Enum, Gauge, Histogram, generate_latest

from dynamo.planner.observation import Decision, Observation, Policy
from dynamo.wire.cards import Role

_PREFIX = "dynamo_planner"


class Outcome(enum.Enum):
    """What a tick came to, as the states of the decision metric."""

    UNSET = "unset"
    NO_DATA = "no_fpm_data"
    IN_PROGRESS = "scaling_in_progress"
    NO_CHANGE = "no_change"
    UP = "scale_up"
    DOWN = "scale_down"


_GAUGES = {
    "num_prefill_replicas": "Prefill workers that are ready",
    "num_decode_replicas": "Decode or aggregated workers that are ready",
    "observed_ttft_ms": "Mean time to first token in the last interval",
    "observed_itl_ms": "Mean inter-token latency in the last interval",
    "observed_requests_per_second": "Requests started per second in the last interval",
    "observed_request_duration_seconds": "Mean duration of requests that ended in the last interval",
    "observed_input_sequence_tokens": "Mean prompt tokens in the last interval",
    "observed_output_sequence_tokens": "Mean output tokens in the last interval",
    "predicted_requests_per_second": "Requests per second that workers are sized for",
    "predicted_input_sequence_tokens": "Prompt tokens that workers are sized for",
    "predicted_output_sequence_tokens": "Output tokens that workers are sized for",
    "predicted_num_prefill_replicas": "Prefill workers decided",
    "predicted_num_decode_replicas": "Decode or aggregated workers decided",
    "gpu_hours": "GPU hours since the start, workers that start or end included",
    "sla_target_ttft_ms": "Target for the time to first token; NaN without one",
    "sla_target_itl_ms": "Target for the inter-token latency; NaN without one",
    "engine_prefill_capacity_requests_per_second": "Requests per second of one prefill worker within the targets",
    "engine_decode_capacity_requests_per_second": "Requests per second of one decode worker within the targets",
    "holding": "1 while data is missing and nothing is changed",
}


class Exposition:
    """One registry per planner."""

    def __init__(self, policy: Policy) -> None:
        self._registry = CollectorRegistry()
        self._gauges = {
            name: Gauge(f"{_PREFIX}_{name}", about, registry=self._registry) for name, about in _GAUGES.items()
        }
        self._decision = Enum(
            f"{_PREFIX}_load_scaling_decision",
            "What the last tick came to",
            states=[outcome.value for outcome in Outcome],
            registry=self._registry,
        )
        self._duration = Histogram(f"{_PREFIX}_tick_duration_seconds", "Duration of a tick", registry=self._registry)
        self._timeouts = Counter(f"{_PREFIX}_tick_timeout", "Ticks that ran out of time", registry=self._registry)
        self._skipped = Counter(f"{_PREFIX}_tick_skipped", "Ticks without a decision", registry=self._registry)
        self._last_s: float | None = None
        self._gpu_hours = 0.0
        targets = policy.targets
        self._set("sla_target_ttft_ms", targets.ttft_s, 1000)
        self._set("sla_target_itl_ms", targets.itl_s, 1000)

    def text(self) -> bytes:
        return generate_latest(self._registry)

    def show(self, seen: Observation, decision: Decision, outcome: Outcome) -> None:
        traffic, shape = seen.traffic, decision.state.shape
        if traffic is not None:
            self._set("observed_requests_per_second", traffic.arrivals / traffic.interval_s)
            self._set("observed_ttft_ms", traffic.ttft_s, 1000)
            self._set("observed_itl_ms", traffic.itl_s, 1000)
            self._set("observed_request_duration_seconds", traffic.duration_s)
            self._set("observed_input_sequence_tokens", traffic.isl_tokens)
            self._set("observed_output_sequence_tokens", traffic.osl_tokens)
        if not decision.is_hold:
            self._set("predicted_requests_per_second", decision.rate_per_s)
            self._set("predicted_input_sequence_tokens", shape.isl_tokens if shape else None)
            self._set("predicted_output_sequence_tokens", shape.osl_tokens if shape else None)
        for role, fleet in seen.fleets.items():
            word = "prefill" if role is Role.PREFILL else "decode"
            self._gauges[f"num_{word}_replicas"].set(fleet.ready)
            self._gauges[f"predicted_num_{word}_replicas"].set(decision.replicas[role])
            need = decision.needs.get(role)
            self._set(f"engine_{word}_capacity_requests_per_second", need.capacity_per_s if need else None)
        self._gauges["holding"].set(decision.is_hold)
        self._decision.state(outcome.value)
        self._charge(seen)

    def ticked(self, duration_s: float) -> None:
        self._duration.observe(duration_s)

    def timed_out(self) -> None:
        self._timeouts.inc()
        self.skipped()

    def skipped(self) -> None:
        self._skipped.inc()
        self._gauges["holding"].set(1)
        self._decision.state(Outcome.NO_DATA.value)

    def _charge(self, seen: Observation) -> None:
        gpus = sum(fleet.held * fleet.gpus_per_replica for fleet in seen.fleets.values())
        if self._last_s is not None:
            self._gpu_hours += gpus * (seen.now_s - self._last_s) / 3600
        self._last_s = seen.now_s
        self._gauges["gpu_hours"].set(self._gpu_hours)

    def _set(self, name: str, value: float | None, factor: float = 1.0) -> None:
        """NaN where there was nothing to measure: a zero would read as a measurement."""
        self._gauges[name].set(float("nan") if value is None else value * factor)
