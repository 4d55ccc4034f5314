"""Router metrics under upstream's names (`dynamo_component_router_*`, `dynamo_router_overhead_*` and the like).

There `worker_id` names the process that routes (its random id in hexadecimal), `router_worker_id` the worker.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from prometheus_client.core import Metric

from dynamo.frontend.fleet import Fleet
from dynamo.frontend.metrics import counts as buckets
from dynamo.frontend.metrics.counts import Counts, RouterCounts
from dynamo.frontend.metrics.families import counter, gauge, histogram
from dynamo.frontend.metrics.histogram import Histogram
from dynamo.router import Router

_PREFIX = "dynamo_component_router"
_PLACE = ("dynamo_namespace", "dynamo_component", "worker_id")


def router_families(counts: Counts, fleet: Fleet, router_id: int) -> Iterator[Metric]:
    first = fleet.cards[0] if fleet.cards else None
    namespace = first.namespace.replace("-", "_") if first else ""
    place = (namespace, first.component if first else "", f"{router_id:x}")
    yield from _requests(counts, (*place, str(router_id)))
    yield from _cache(counts, (*place, str(router_id)))
    yield from _workers(fleet, place)
    yield from _overhead(counts, router_id)
    yield from _request_plane(counts)


class RankLoad(NamedTuple):
    worker_id: int
    dp_rank: int
    decode_blocks: int
    prefill_tokens: int


def router_loads(router: Router) -> list[RankLoad]:
    """The router's own view of its workers' load."""
    workers: Any = router.snapshot()["workers"]
    return [
        RankLoad(int(one["worker_id"], 16), one["dp_rank"], one["decode_blocks"], one["prefill_tokens"])
        for one in workers
    ]


def _requests(counts: Counts, place: tuple[str, ...]) -> Iterator[Metric]:
    labels = (*_PLACE, "router_id")
    routers = list(counts.routers.values())
    started, finished = sum(one.started for one in routers), sum(one.finished for one in routers)
    yield counter(f"{_PREFIX}_requests_started", "Requests routed", labels, [(place, started)])
    yield counter(f"{_PREFIX}_requests", "Requests routed and answered", labels, [(place, finished)])
    for name, text, attribute, bounds in (
        ("time_to_first_token_seconds", "Time to first token seen at the router", "ttft_s", buckets.TTFT_S),
        ("inter_token_latency_seconds", "Mean inter-token latency seen at the router", "itl_s", buckets.ROUTER_ITL_S),
        ("output_sequence_tokens", "Output tokens seen at the router", "output_tokens", buckets.OUTPUT_TOKENS),
        ("kv_hit_rate", "Predicted share of a prompt's blocks that is cached", "hit_rate", buckets.HIT_RATE),
    ):
        whole = Histogram.sum_of([getattr(one, attribute) for one in routers], bounds)
        yield histogram(f"{_PREFIX}_{name}", text, labels, [(place, whole)])
    by_model = [((*place, model, "aggregated"), one.input_tokens) for model, one in counts.routers.items()]
    text = "Input tokens seen at the router"
    yield histogram(f"{_PREFIX}_input_sequence_tokens", text, (*labels, "model", "phase"), by_model)


def _cache(counts: Counts, place: tuple[str, ...]) -> Iterator[Metric]:
    labels = (*_PLACE, "router_id")
    for name, text, attribute in (
        ("kv_best_eligible_cached_prefix_tokens", "Cached tokens on the best eligible worker", "best_cached_tokens"),
        ("kv_selected_cached_prefix_tokens", "Cached tokens on the chosen worker", "selected_cached_tokens"),
        ("kv_worker_reused_tokens", "Prompt tokens that workers reported as cached", "reused_tokens"),
    ):
        found = [((*place, m, "aggregated"), getattr(one, attribute)) for m, one in counts.routers.items()]
        yield counter(f"{_PREFIX}_{name}", text, (*labels, "model", "phase"), found)
    routers: list[RouterCounts] = list(counts.routers.values())
    typed = (*labels, "worker_type")
    not_best = sum(one.not_best_overlap for one in routers)
    text = "Decisions for a worker although another had more cached"
    yield counter(f"{_PREFIX}_non_max_overlap_selections", text, typed, [((*place, "decode"), not_best)])
    lost = Histogram.sum_of([one.overlap_lost for one in routers], buckets.OVERLAP_LOST)
    text = "Cached blocks passed up by such decisions"
    yield histogram(f"{_PREFIX}_overlap_blocks_lost", text, typed, [((*place, "decode"), lost)])


def _workers(fleet: Fleet, place: tuple[str, ...]) -> Iterator[Metric]:
    found = [
        ((*place, str(card.worker_id), str(rank), card.role.value), 1.0)
        for card in fleet.cards
        for rank in range(card.data_parallel_size)
    ]
    labels = (*_PLACE, "router_worker_id", "dp_rank", "worker_type")
    yield gauge(f"{_PREFIX}_worker_registered", "Workers that the router knows", labels, found)


def _overhead(counts: Counts, router_id: int) -> Iterator[Metric]:
    for name, counted in (
        ("block_hashing", counts.hashing_ms),
        ("seq_hashing", counts.seq_hashing_ms),
        ("scheduling", counts.deciding_ms),
    ):
        text = f"Milliseconds per request spent on {name.replace('_', ' ')}"
        yield histogram(f"dynamo_router_overhead_{name}_ms", text, ("router_id",), [((str(router_id),), counted)])


def _request_plane(counts: Counts) -> Iterator[Metric]:
    active = sum(model.active for model in counts.models.values())
    yield gauge("dynamo_request_plane_inflight_requests", "Requests between frontend and workers", (), [((), active)])
    text = "From sending a request to a worker to its first token"
    yield histogram("dynamo_request_plane_roundtrip_ttft_seconds", text, (), [((), counts.roundtrip_s)])
