"""Every metric of the operator, and the two observers that feed them.

Names and labels up to `resources_total` are upstream's public contract. Callers: the process's wiring hands the
observers out; the metrics server renders the registry.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from enum import StrEnum

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from dynamo_operator.handlers.store import LiveStore
from dynamo_operator.kube import Conflict, Gone, Invalid, Kind, KubeError, Ref, Unreachable

RECONCILE_BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
WEBHOOK_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class ErrorType(StrEnum):
    API = "api_error"
    VALIDATION = "validation_error"
    NOT_FOUND = "not_found"
    CONFLICT = "conflict"
    TIMEOUT = "timeout"
    UNKNOWN = "unknown"


def error_type(error: Exception) -> ErrorType:
    if isinstance(error, TimeoutError) or (isinstance(error, Unreachable) and "no answer within" in str(error)):
        return ErrorType.TIMEOUT
    by_class = {Conflict: ErrorType.CONFLICT, Gone: ErrorType.NOT_FOUND, Invalid: ErrorType.VALIDATION}
    fallback = ErrorType.API if isinstance(error, KubeError) else ErrorType.UNKNOWN
    return next((type_ for class_, type_ in by_class.items() if isinstance(error, class_)), fallback)


class Metrics:
    """Implements the queue's and the webhook server's `Observer`."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        self._pass_s = Histogram(
            "dynamo_operator_reconcile_duration_seconds",
            "Duration of one pass over one root.",
            ["resource_type", "namespace"],
            buckets=RECONCILE_BUCKETS_S,
            registry=registry,
        )
        self._passes = Counter(
            "dynamo_operator_reconcile_total",
            "Passes by how they ended: success, error, or requeue (succeeded and asked to come back).",
            ["resource_type", "namespace", "result"],
            registry=registry,
        )
        self._errors = Counter(
            "dynamo_operator_reconcile_errors_total",
            "Failed passes by what went wrong.",
            ["resource_type", "namespace", "error_type"],
            registry=registry,
        )
        self._answer_s = Histogram(
            "dynamo_operator_webhook_duration_seconds",
            "Duration of one webhook answer.",
            ["operation"],
            buckets=WEBHOOK_BUCKETS_S,
            registry=registry,
        )
        self._answers = Counter(
            "dynamo_operator_webhook_requests_total",
            "Webhook answers by operation and result.",
            ["operation", "result"],
            registry=registry,
        )
        self._denials = Counter(
            "dynamo_operator_webhook_denials_total",
            "Refused fields, by their path without indices.",
            ["reason"],
            registry=registry,
        )
        self._leading = Gauge("dynamo_operator_leading", "1 while this process holds the lease.", registry=registry)
        self._restarts = Counter(
            "dynamo_operator_watch_restarts_total", "Times that all watches had to be begun anew.", registry=registry
        )

    def passed(self, root: Ref, duration_s: float, error: Exception | None, *, is_requeued: bool) -> None:
        where = (root.kind.name, root.namespace)
        self._pass_s.labels(*where).observe(duration_s)
        result = "error" if error else "requeue" if is_requeued else "success"
        self._passes.labels(*where, result).inc()
        if error:
            self._errors.labels(*where, error_type(error).value).inc()

    def answered(self, operation: str, result: str, duration_s: float, *, denied_fields: tuple[str, ...] = ()) -> None:
        self._answer_s.labels(operation).observe(duration_s)
        self._answers.labels(operation, result).inc()
        for field in denied_fields:
            self._denials.labels(field).inc()

    def led(self, is_leading: bool) -> None:
        self._leading.set(is_leading)

    def watching_restarted(self) -> None:
        self._restarts.inc()

    def watch_store(self, store: LiveStore, kinds: Sequence[Kind], depth: Callable[[], int]) -> None:
        """Export what the store holds and how much waits, counted when asked."""
        self._registry.register(_Holdings(store, kinds))
        waiting = Gauge("dynamo_operator_queue_depth", "Roots that wait for their pass.", registry=self._registry)
        waiting.set_function(depth)

    def render(self) -> bytes:
        return generate_latest(self._registry)


class _Holdings(Collector):
    """Objects by kind, namespace and the state in their status."""

    def __init__(self, store: LiveStore, kinds: Sequence[Kind]) -> None:
        self._store = store
        self._kinds = kinds

    def collect(self) -> Iterable[GaugeMetricFamily]:
        family = GaugeMetricFamily(
            "dynamo_operator_resources_total",
            "Custom resources by the state that their status shows.",
            labels=["resource_type", "namespace", "status"],
        )
        counts: dict[tuple[str, str, str], int] = {}
        for kind in self._kinds:
            for live in self._store.find(kind):
                state = str((live.document.get("status") or {}).get("state") or "unknown")
                key = (kind.name, live.ref.namespace, state)
                counts[key] = counts.get(key, 0) + 1
        for key, count in sorted(counts.items()):
            family.add_metric(key, count)
        yield family
