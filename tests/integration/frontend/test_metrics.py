"""/metrics carries what upstream's frontend shows, as far as it exists here; what is missing is listed with why."""

from __future__ import annotations

import re

import httpx
import pytest

from tests.integration.frontend.harness import DONE, a_chat, a_frame, a_stage, a_stream, always, usage_frame
from tests.shared import shared

NO_TOKIO = "counts threads and queues of upstream's Rust runtime; event_loop_delay_seconds says what matters here"
ENGINE_SIDE = "text is made of tokens in the engine; the frontend forwards bytes"
NO_MEDIA = "media parts are passed to the engine unread"
NO_TCP_PLANE = "requests go over HTTP; there is no TCP request plane with its own counters"
EVENT_PLANE = "the event feed keeps its counts to itself so far"
NO_APPROXIMATE_THREADS = "the approximate cache is updated in the event loop, without queue or leases"
NO_REPLICA_SYNC = "routers do not exchange active sequences; workers' load reports show everyone's"
NO_SHARED_CACHE = "no shared cache is queried"
NO_ADMISSION_POLICY = "requests are refused by busy thresholds alone (model_rejection_total)"

MISSING = {
    r"dynamo_tokio_.*": NO_TOKIO,
    r"dynamo_transport_tcp_.*": NO_TCP_PLANE,
    r"dynamo_request_plane_(queue|send)_seconds": NO_TCP_PLANE,
    r"dynamo_frontend_detokenize_.*": ENGINE_SIDE,
    r"dynamo_frontend_tokenizer_latency_ms": "tokenize_seconds says it for the half that happens here",
    r"dynamo_frontend_tokenizer_cache_(cached|uncached)_tokens_total": "the tokenizer's cache counts segments",
    r"dynamo_frontend_(audio|images|videos)_per_request": NO_MEDIA,
    r"dynamo_frontend_image_tokens_per_request": NO_MEDIA,
    r"dynamo_frontend_stage_requests": "stage_duration_seconds has the counts",
    r"dynamo_frontend_router_admission_rejected_total": NO_ADMISSION_POLICY,
    r"dynamo_frontend_router_queue_backpressure_total": NO_ADMISSION_POLICY,
    r"dynamo_frontend_router_queue_pending_(cached|isl)_tokens": "only the number of waiting requests is kept",
    r"dynamo_router_overhead_(shared_cache_query_ms)": NO_SHARED_CACHE,
    r"dynamo_router_shared_cache_errors_total": NO_SHARED_CACHE,
    r"dynamo_router_overhead_(indexer_find_matches|total)_ms": "matching and choosing are one step: scheduling",
    r"dynamo_component_router_shared_cache_.*": NO_SHARED_CACHE,
    r"dynamo_component_router_approximate_.*": NO_APPROXIMATE_THREADS,
    r"dynamo_component_router_active_sequence_.*": NO_REPLICA_SYNC,
    r"dynamo_component_router_kv_zmq_ingress_.*": EVENT_PLANE,
    r"dynamo_component_router_kv_event_source_mismatch_workers": EVENT_PLANE,
    r"dynamo_component_router_kv_transfer_estimated_latency_seconds": "the engines' own transfer metrics measure it",
    r"dynamo_component_kv_cache_events_applied": EVENT_PLANE,
    r"dynamo_component_kv_cache_event_warnings": EVENT_PLANE,
    r"dynamo_component_ckf_mutation_total": "a structure of upstream's index",
    r"dynamo_component_uptime_seconds": "the process's start time is known to whoever runs it",
}


async def a_page() -> str:
    stream = always(a_stream(a_frame("a"), a_frame("b"), usage_frame(2), DONE))
    async with a_stage(stream) as stage, httpx.AsyncClient(base_url=stage.url, timeout=10) as client:
        await client.post("/v1/chat/completions", json=a_chat(stream=True))
        await client.post("/v1/chat/completions", json=a_chat(model="zzz"))
        return (await client.get("/metrics")).text


def kinds_of(page: str) -> dict[str, str]:
    return dict(re.findall(r"^# TYPE (\S+) (\S+)$", page, re.MULTILINE))


def labels_of(page: str) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for name, labels in re.findall(r"^(\w+?)(?:_bucket|_sum|_count)?\{(.*)\} ", page, re.MULTILINE):
        found.setdefault(name, set()).update(set(re.findall(r'(\w+)="', labels)) - {"le"})
    return found


async def test_page_has_upstreams_families_with_their_types_and_labels() -> None:
    upstream, ours = shared("corpus/live/frontend-metrics.txt").read_text(), await a_page()
    theirs, here = kinds_of(upstream), kinds_of(ours)

    unexplained = [name for name in theirs if name not in here and not any(re.fullmatch(m, name) for m in MISSING)]
    stale = [m for m in MISSING if not any(re.fullmatch(m, name) and name not in here for name in theirs)]
    retyped = {name: (kind, here[name]) for name, kind in theirs.items() if name in here and here[name] != kind}
    relabelled = {
        name: (labels, labels_of(ours)[name])
        for name, labels in labels_of(upstream).items()
        if name in labels_of(ours) and labels_of(ours)[name] != labels
    }

    assert (unexplained, stale, retyped, relabelled) == ([], [], {}, {})


async def test_buckets_are_upstreams() -> None:
    def bounds(page: str, name: str) -> list[float]:
        return sorted({float(bound) for bound in re.findall(rf'^{name}_bucket\{{.*le="([^"]+)"', page, re.MULTILINE)})

    upstream, ours = shared("corpus/live/frontend-metrics.txt").read_text(), await a_page()
    names = [name for name, kind in kinds_of(upstream).items() if kind == "histogram" and bounds(ours, name)]

    assert len(names) > 12
    for name in names:
        assert bounds(ours, name) == pytest.approx(bounds(upstream, name), rel=1e-6), name


async def test_numbers_add_up() -> None:
    page = await a_page()

    chat, model = 'endpoint="chat_completions"', 'model="m"'
    good, bad = 'request_type="stream",status="success"', 'request_type="unary",status="error"'
    for line in (
        f'dynamo_frontend_requests_started_total{{{chat},{model},request_type="stream"}} 1.0',
        f'dynamo_frontend_requests_total{{{chat},error_type="",{model},{good}}} 1.0',
        f'dynamo_frontend_requests_total{{{chat},error_type="not_found",model="unknown",{bad}}} 1.0',
        'dynamo_frontend_failures_total{class="NotFound",reason="request.not_found"} 1.0',
        f"dynamo_frontend_output_tokens_total{{{model}}} 2.0",
        f"dynamo_frontend_output_sequence_tokens_sum{{{model}}} 2.0",
        f"dynamo_frontend_time_to_first_token_seconds_count{{{model}}} 1.0",
        f"dynamo_frontend_inter_token_latency_seconds_count{{{model}}} 1.0",
        f"dynamo_frontend_model_ready{{{model}}} 1.0",
        f"dynamo_frontend_active_requests{{{model}}} 0.0",
    ):
        assert line in page, line


async def test_unknown_models_make_no_series() -> None:
    async with a_stage(always(a_stream(DONE))) as stage, httpx.AsyncClient(base_url=stage.url) as client:
        for number in range(20):
            await client.post("/v1/chat/completions", json=a_chat(model=f"zzz{number}"))
        page = (await client.get("/metrics")).text

    assert "zzz" not in page
