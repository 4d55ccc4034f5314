"""`/metrics` of a worker: the `dynamo_component_*` families, then the engine's own text, unchanged.

Requests go straight to the engine's server, so what upstream's worker counts itself is read here from the engine's
families: `dynamo_component_requests_total` and its like mean the same and stay usable in dashboards. Called by the
system server on each scrape.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping, Sequence

from dynamo.worker.live import LiveWorker

_ENDPOINT = "generate"
_SAMPLE = re.compile(rb"^([a-zA-Z_:][a-zA-Z0-9_:]*)(\{.*\})?[ \t]+(\S+)", re.MULTILINE)
_LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"')

_FINISHED = "vllm:request_success_total"
_LATENCY = "vllm:e2e_request_latency_seconds"

Labels = Mapping[str, str]
Sample = tuple[str, Labels, float]
"""Name suffix, labels, value."""


async def metrics_text(worker: LiveWorker) -> bytes:
    engine_text = await worker.engine.metrics_text() if worker.facts is not None else b""
    families = [*_own(worker), *_relayed(worker), *_counted_by_engine(worker, engine_text)]
    return "".join(families).encode() + engine_text


def _own(worker: LiveWorker) -> Iterator[str]:
    labels = _labels(worker)
    uptime_s = time.monotonic() - worker.started_s
    worker_id = {"worker_id": labels["worker_id"]}
    yield _family(
        "dynamo_component_uptime_seconds", "gauge", "Time since the worker started", [("", worker_id, uptime_s)]
    )
    inflight = {**labels, "dynamo_endpoint": _ENDPOINT}
    yield _family(
        "dynamo_component_inflight_requests",
        "gauge",
        "Requests the engine has accepted and not finished",
        [("", inflight, worker.engine.in_flight)],
    )
    if worker.engine_start_s is not None:
        yield _family(
            "dynamo_component_model_load_time_seconds",
            "gauge",
            "How long the engine took to get ready",
            [("", {**labels, "model": worker.config.model}, worker.engine_start_s)],
        )
    facts = worker.facts
    if facts is None or facts.total_kv_blocks is None:
        return
    loads = [(_rank_labels(worker, load.dp_rank), load.kv_used_blocks) for load in worker.engine.read_load()]
    total = facts.total_kv_blocks
    yield _family(
        "dynamo_component_total_blocks", "gauge", "KV blocks of a rank", [("", rank, total) for rank, _ in loads]
    )
    yield _family(
        "dynamo_component_gpu_cache_usage_percent",
        "gauge",
        "Share of a rank's KV blocks in use, 0 to 1",
        [("", rank, used / total if total else 0.0) for rank, used in loads],
    )


def _relayed(worker: LiveWorker) -> Iterator[str]:
    if worker.relay is None:
        return
    counts = worker.relay.counts
    odd = [rank.oddities for rank in worker.relay.ranks]
    for name, about, value in (
        ("engines_dropped_events", "Engine KV event messages that never arrived", counts.dropped),
        ("zmq_events", "KV events received from the engine", counts.events),
        ("zmq_filtered_events", "KV events of cache groups that prefix matching must not see", counts.filtered),
        ("zmq_conversion_issues", "KV events that could not be decoded", counts.unreadable),
        (
            "zmq_suspicious_events",
            "KV events that fit nothing known: unknown parent or block, wrong block size",
            sum(o.unknown_parent + o.unknown_block + o.wrong_block_size for o in odd),
        ),
    ):
        yield _family(f"dynamo_component_kv_publisher_{name}_total", "counter", about, [("", _labels(worker), value)])


def _counted_by_engine(worker: LiveWorker, engine_text: bytes) -> Iterator[str]:
    """Requests, cancellations and durations, if the engine tells them in vLLM's families."""
    labels = {**_labels(worker), "dynamo_endpoint": _ENDPOINT}
    finished: float | None = None
    cancelled = 0.0
    latency: dict[tuple[str, str], float] = {}
    for name, found, value in _samples(engine_text, (_FINISHED, _LATENCY)):
        if name == _FINISHED:
            finished = (finished or 0.0) + value
            cancelled += value if found.get("finished_reason") == "abort" else 0.0
        else:
            key = (name.removeprefix(_LATENCY), found.get("le", ""))
            latency[key] = latency.get(key, 0.0) + value
    if finished is not None:
        about = "Requests the engine has finished, cancelled ones included"
        yield _family("dynamo_component_requests_total", "counter", about, [("", labels, finished)])
        about = "Requests ended by their client"
        yield _family("dynamo_component_cancellation_total", "counter", about, [("", labels, cancelled)])
    if latency:
        samples = [
            (suffix, {**labels, "le": bound} if bound else labels, value) for (suffix, bound), value in latency.items()
        ]
        about = "From acceptance to the last token, with the engine's buckets"
        yield _family("dynamo_component_request_duration_seconds", "histogram", about, samples)


def _samples(text: bytes, families: tuple[str, ...]) -> Iterator[Sample]:
    """Samples whose name is a family's or a histogram's part of it; values that are no numbers are passed over."""
    for name, labels, value in _SAMPLE.findall(text):
        found = name.decode()
        if found.startswith(families) and not found.endswith("_created"):
            try:
                yield found, dict(_LABEL.findall(labels.decode(errors="replace"))), float(value)
            except ValueError:
                continue


def _labels(worker: LiveWorker) -> dict[str, str]:
    config = worker.config
    return {
        "dynamo_component": config.component,
        "dynamo_namespace": config.namespace.replace("-", "_"),
        "worker_id": f"{config.worker_id:x}",
    }


def _rank_labels(worker: LiveWorker, dp_rank: int) -> dict[str, str]:
    return {**_labels(worker), "model": worker.config.model, "dp_rank": str(dp_rank)}


def _family(name: str, kind: str, about: str, samples: Sequence[Sample]) -> str:
    lines = [f"# HELP {name} {about}", f"# TYPE {name} {kind}"]
    for suffix, labels, value in samples:
        pairs = ",".join(f'{key}="{_escaped(text)}"' for key, text in labels.items())
        lines.append(
            f"{name}{suffix}{{{pairs}}} {value:.17g}" if value % 1 else f"{name}{suffix}{{{pairs}}} {value:.0f}"
        )
    return "\n".join(lines) + "\n"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
