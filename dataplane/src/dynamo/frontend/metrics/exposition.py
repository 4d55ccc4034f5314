"""The frontend's numbers as Prometheus text, made on scrape: names, labels and buckets that dashboards know.

Reads counters, the fleet and its routers; changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from dynamo.frontend.fleet import Fleet
from dynamo.frontend.listener import Gate
from dynamo.frontend.metrics.counts import Counts
from dynamo.frontend.metrics.families import Labelled, counter, gauge, histogram
from dynamo.frontend.metrics.router_families import router_families, router_loads
from dynamo.frontend.settings import Settings
from dynamo.frontend.tokens import TokenizerShelf


class Exposition(Collector):
    """Everything /metrics shows."""

    def __init__(
        self,
        fleet: Fleet,
        counts: Counts,
        gate: Gate,
        shelf: TokenizerShelf,
        settings: Settings,
        *,
        router_id: int,
    ) -> None:
        """`router_id` names this process among routers."""
        self._fleet = fleet
        self._counts = counts
        self._gate = gate
        self._shelf = shelf
        self._prefix = settings.metrics_prefix
        self._migration_limit = settings.migration_limit
        self._router_id = router_id
        self._registry = CollectorRegistry()
        self._registry.register(self)

    def text(self) -> bytes:
        return generate_latest(self._registry)

    def collect(self) -> Iterable[Metric]:
        yield from self._requests()
        yield from self._speeds()
        yield from self._models()
        yield from self._stages()
        yield from self._workers()
        yield from self._queues()
        yield from router_families(self._counts, self._fleet, self._router_id)

    def describe(self) -> Iterable[Metric]:
        return ()

    def _requests(self) -> Iterator[Metric]:
        models = self._counts.models.items()
        yield self._counter(
            "requests_started",
            "Total number of LLM requests accepted by the frontend handler",
            ("model", "endpoint", "request_type"),
            [((name, *key), count) for name, model in models for key, count in model.started.items()],
        )
        yield self._counter(
            "requests",
            "Total number of LLM requests processed",
            ("model", "endpoint", "request_type", "status", "error_type"),
            [((name, *key), count) for name, model in models for key, count in model.finished.items()],
        )
        yield self._counter(
            "model_cancellation",
            "Requests whose client hung up",
            ("model", "endpoint", "request_type"),
            [((name, *key), count) for name, model in models for key, count in model.cancelled.items()],
        )
        yield self._counter(
            "model_rejection",
            "Requests refused because all workers were busy",
            ("model", "endpoint"),
            [((name, key), count) for name, model in models for key, count in model.rejected.items()],
        )
        yield self._counter(
            "failures",
            "Requests that failed, by error class and reason",
            ("class", "reason"),
            [(key, count) for key, count in self._counts.failures.items()],
        )
        yield self._counter(
            "output_tokens",
            "Total number of output tokens generated (updates in real-time)",
            ("model",),
            [((name,), model.output_tokens) for name, model in models],
        )
        for name, text in (
            ("active_requests", "Requests between entry and completion"),
            ("inflight_requests", "Number of inflight requests"),
        ):
            yield self._gauge(name, text, ("model",), [((key,), model.active) for key, model in models])
        queued = [((name,), model.queued) for name, model in models]
        yield self._gauge("queued_requests", "Requests without a first token yet", ("model",), queued)
        gone = self._gate.disconnected_clients
        yield self._gauge(
            "disconnected_clients", "Clients that left before their answer was complete", (), [((), gone)]
        )

    def _speeds(self) -> Iterator[Metric]:
        families = (
            ("request_duration_seconds", "Duration of LLM requests", "duration_s"),
            ("time_to_first_token_seconds", "Time to first token in seconds", "ttft_s"),
            ("inter_token_latency_seconds", "Inter-token latency in seconds", "itl_s"),
            ("input_sequence_tokens", "Input sequence length in tokens", "input_tokens"),
            ("cached_tokens", "Number of cached tokens (prefix cache hits) per request", "cached_tokens"),
            ("output_sequence_tokens", "Output sequence length in tokens", "output_sequence_tokens"),
        )
        for name, text, attribute in families:
            found = [((model,), getattr(counts, attribute)) for model, counts in self._counts.models.items()]
            yield histogram(f"{self._prefix}_{name}", text, ("model",), found)

    def _models(self) -> Iterator[Metric]:
        models = self._fleet.models()
        ready = [((model.name,), float(model.is_ready)) for model in models]
        yield self._gauge("model_ready", "Whether the frontend can route a request for the model", ("model",), ready)
        limits = [((model.name,), self._migration_limit) for model in models]
        yield self._gauge("model_migration_limit", "Times a stream may move to another worker", ("model",), limits)
        for name, text, attribute in (
            ("model_total_kv_blocks", "Total KV cache blocks of a worker serving the model", "total_kv_blocks"),
            ("model_max_num_seqs", "Sequences that a worker serving the model runs at once", "max_num_seqs"),
            ("model_max_num_batched_tokens", "Tokens that such a worker computes per step", "max_num_batched_tokens"),
            ("model_context_length", "Maximum context length of such a worker", "context_length"),
            ("model_kv_cache_block_size", "Tokens per KV block of such a worker", "block_size"),
        ):
            values = []
            for model in models:
                card = next(iter(model.cards.values()), None)
                values.append(((model.name,), float(getattr(card, attribute, None) or 0)))
            yield self._gauge(name, text, ("model",), values)

    def _stages(self) -> Iterator[Metric]:
        counts, prefix = self._counts, self._prefix
        stages = [((name,), stage) for name, stage in counts.stage_s.items()]
        yield histogram(f"{prefix}_stage_duration_seconds", "Pipeline stage duration (seconds)", ("stage",), stages)
        template, tokenize = [((), counts.template_s)], [((), counts.tokenize_s)]
        yield histogram(f"{prefix}_template_seconds", "Time to render a chat template", (), template)
        yield histogram(f"{prefix}_tokenize_seconds", "Time to tokenize a prompt", (), tokenize)
        hits, misses = self._shelf.cache_stats()
        yield self._counter("tokenizer_cache_hits", "Text segments found tokenized", (), [((), hits)])
        yield self._counter("tokenizer_cache_misses", "Text segments tokenized anew", (), [((), misses)])
        delay = [((), counts.loop_delay_s)]
        yield histogram(f"{prefix}_event_loop_delay_seconds", "How late a short sleep wakes", (), delay)
        stalls = [((), counts.loop_stalls)]
        yield self._counter("event_loop_stall", "Number of event loop stalls (delay > 5ms)", (), stalls)

    def _workers(self) -> Iterator[Metric]:
        labels = ("worker_id", "dp_rank", "worker_type")
        roles = {card.worker_id: card.role.value for card in self._fleet.cards}
        known = [
            ((str(worker_id), str(rank), roles.get(worker_id, "")), counts)
            for (worker_id, rank), counts in self._counts.workers.items()
        ]
        for name, attribute in (
            ("worker_last_time_to_first_token_seconds", "ttft_s"),
            ("worker_last_inter_token_latency_seconds", "itl_s"),
            ("worker_last_input_sequence_tokens", "input_tokens"),
        ):
            found = [(key, getattr(counts, attribute)) for key, counts in known]
            yield self._gauge(name, "Of the worker's last request", labels, found)
        loads = [
            ((str(load.worker_id), str(load.dp_rank), roles.get(load.worker_id, "")), load)
            for model in self._fleet.models()
            for router in model.routers()
            for load in router_loads(router)
        ]
        for name, text, attribute in (
            ("worker_active_decode_blocks", "KV blocks held by the worker's running requests", "decode_blocks"),
            ("worker_active_prefill_tokens", "Prompt tokens that the worker has still to compute", "prefill_tokens"),
        ):
            yield self._gauge(name, text, labels, [(key, getattr(load, attribute)) for key, load in loads])

    def _queues(self) -> Iterator[Metric]:
        labels = ("model", "policy_class", "worker_type")
        waiting = [
            ((model.name, "default", role), router.waiting)
            for model in self._fleet.models()
            for role, router in model.routers_by_role()
        ]
        text = "Requests held back by --router-queue-threshold"
        yield self._gauge("router_queue_pending_requests", text, labels, waiting)
        received = [((name, "default", "decode"), counts.started) for name, counts in self._counts.routers.items()]
        yield self._counter("router_admission_received", "Requests given to a router", labels, received)

    def _counter(self, name: str, text: str, labels: Sequence[str], found: Iterable[Labelled]) -> Metric:
        return counter(f"{self._prefix}_{name}", text, labels, found)

    def _gauge(self, name: str, text: str, labels: Sequence[str], found: Iterable[Labelled]) -> Metric:
        return gauge(f"{self._prefix}_{name}", text, labels, found)
