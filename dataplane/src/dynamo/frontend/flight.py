"""One request on its way: what is known of it so far, and its closing into counters and one log line.

Owned by the pipeline from acceptance to end. Counting happens here, so that it happens once.
"""

from __future__ import annotations

from dynamo.frontend.calls import Call, Endpoint
from dynamo.frontend.exchange import Exchange
from dynamo.frontend.fleet import Found
from dynamo.frontend.meter import Meter
from dynamo.frontend.metrics.counts import UNKNOWN_MODEL, Counts, ModelCounts
from dynamo.frontend.relay import Collector
from dynamo.frontend.responses import ResponsesForm
from dynamo.process.logs import EventLog, Value
from dynamo.router import Ask, Decision
from dynamo.wire.errors import Cancelled, Overloaded, RequestError


class Flight:
    """The state of one request."""

    __slots__ = (
        "_counts",
        "_label",
        "_model_counts",
        "ask",
        "call",
        "decision",
        "endpoint",
        "error",
        "exchange",
        "form",
        "found",
        "meter",
        "relay",
        "sent_s",
        "status",
        "tries",
    )

    def __init__(self, exchange: Exchange, endpoint: Endpoint, counts: Counts) -> None:
        self._counts = counts
        self._model_counts: ModelCounts | None = None
        self.exchange = exchange
        self.endpoint = endpoint
        self._label = endpoint.value
        self.call: Call | None = None
        self.found: Found | None = None
        self.ask: Ask | None = None
        self.decision: Decision | None = None
        self.meter: Meter | None = None
        self.tries = 0
        self.sent_s = 0.0
        """When the request last went to a worker."""
        self.form: ResponsesForm | None = None
        """None: the answer goes out in the worker's own form."""
        self.relay: Collector | None = None
        self.error: RequestError | None = None
        self.status = 200

    def admitted(self, call: Call, found: Found) -> None:
        """From here on the request counts for its model."""
        self.call, self.found = call, found
        counts = self._counts.model(found.lora or found.model.name)
        self._model_counts = counts
        counts.started[self._label, self.kind] += 1
        counts.active += 1
        counts.queued += 1

    @property
    def counts(self) -> ModelCounts:
        assert self._model_counts is not None, "only an admitted request is counted"
        return self._model_counts

    @property
    def kind(self) -> str:
        return "stream" if self.call is not None and self.call.is_stream else "unary"

    @property
    def has_first_token(self) -> bool:
        return self.meter is not None and self.meter.first_token_s is not None

    def first_token(self) -> None:
        if self._model_counts is not None:
            self._model_counts.queued -= 1

    def close(self, now_s: float, log: EventLog) -> None:
        """Counts the outcome and says it once."""
        counts = self._model_counts or self._counts.model(UNKNOWN_MODEL)
        error, endpoint, kind = self.error, self._label, self.kind
        if self._model_counts is None:
            counts.started[endpoint, kind] += 1
        else:
            counts.active -= 1
            counts.queued -= not self.has_first_token
            counts.duration_s.observe(now_s - self.exchange.received_s)
        if error is not None:
            self._counts.failures[type(error).__name__, _reason(error)] += 1
        if isinstance(error, Cancelled):
            counts.cancelled[endpoint, kind] += 1
        if isinstance(error, Overloaded):
            counts.rejected[endpoint] += 1
        outcome = ("error", error.metric_type) if error is not None else ("success", "")
        counts.finished[(endpoint, kind, *outcome)] += 1
        self._close_meter(counts)
        self._say(now_s, log)
        # They know this flight: without the cycle it is gone at once, and the garbage collector has nothing to find.
        self.meter = self.relay = None

    def _close_meter(self, counts: ModelCounts) -> None:
        meter, decision = self.meter, self.decision
        if meter is None or meter.first_token_s is None:
            return
        meter.close()
        counts.output_sequence_tokens.observe(meter.output_tokens)
        if (usage := meter.usage) is not None:
            counts.input_tokens.observe(usage.prompt_tokens)
            counts.cached_tokens.observe(usage.cached_tokens or 0)
        if decision is not None and self.found is not None:
            ttft_s = meter.first_token_s - self.exchange.received_s
            self._counts.roundtrip_s.observe(meter.first_token_s - self.sent_s)
            worker = self._counts.worker(decision.worker_id, decision.dp_rank)
            worker.ttft_s, worker.itl_s = ttft_s, meter.mean_itl_s
            router = self._counts.router(self.found.model.name)
            router.finished += 1
            router.ttft_s.observe(ttft_s)
            router.output_tokens.observe(meter.output_tokens)
            if meter.tokens > 1:
                router.itl_s.observe(meter.mean_itl_s)
            if usage is not None:
                worker.input_tokens = usage.prompt_tokens
                router.input_tokens.observe(usage.prompt_tokens)
                router.reused_tokens += usage.cached_tokens or 0

    def _say(self, now_s: float, log: EventLog) -> None:
        fields: dict[str, Value] = {
            "request_id": self.exchange.request_id,
            "endpoint": self._label,
            "model": self.call.model[:256] if self.call else None,
            "kind": self.kind,
            "status": self.status,
            "duration_s": now_s - self.exchange.received_s,
        }
        if (decision := self.decision) is not None:
            fields["worker"] = decision.worker_name
            fields["reason"] = decision.reason
        if (meter := self.meter) is not None and meter.first_token_s is not None:
            fields["ttft_s"] = meter.first_token_s - self.exchange.received_s
            fields["output_tokens"] = meter.output_tokens
            if meter.usage is not None:
                fields["input_tokens"] = meter.usage.prompt_tokens
                fields["cached_tokens"] = meter.usage.cached_tokens
        if self.tries > 1:
            fields["tries"] = self.tries
        if self.error is not None:
            fields["error"] = self.error.metric_type
            fields["message"] = self.error.message[:500]
        log.info("request", **fields)


_REASONS = {
    "InvalidRequest": "request.invalid",
    "NotFound": "request.not_found",
    "MethodNotAllowed": "request.invalid",
    "BodyTooLarge": "request.invalid",
    "UnsupportedMedia": "request.unsupported_media",
    "Cancelled": "request.cancelled",
    "Unavailable": "backend.unavailable",
    "Overloaded": "capacity.pool_exhausted",
    "NotImplementedYet": "request.not_implemented",
}


def _reason(error: RequestError) -> str:
    return _REASONS.get(type(error).__name__, "backend.unknown")
