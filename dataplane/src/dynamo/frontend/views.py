"""What the frontend knows, as JSON: fleet, decisions, readiness, busy thresholds. Reads; only thresholds change."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec

from dynamo.frontend.fleet import Fleet, ServedModel
from dynamo.router import BusyThresholds
from dynamo.wire.cards import Role, WorkerCard
from dynamo.wire.errors import InvalidRequest, NotFound
from dynamo.wire.openai_requests import refuse_body


def instance(card: WorkerCard) -> dict[str, Any]:
    """One worker, as /health lists it."""
    return {
        "instance_id": card.worker_id,
        "namespace": card.namespace,
        "component": card.component,
        "endpoint": "generate",
        "name": card.name,
        "model": card.model,
        "role": card.role.value,
        "transport": {"http": card.address},
    }


def model_readiness(name: str, model: ServedModel) -> dict[str, Any]:
    """Whether the model can serve, by namespace and worker type."""
    spaces: dict[str, Any] = {}
    for space in model.spaces:
        types = {
            role.value: {"workers": count, "needs": [needed.value for needed in _needs(role)]}
            for role, count in space.workers.items()
        }
        spaces[space.namespace] = {
            "ready": space.is_ready,
            "worker_types": types,
            "present": sorted(types),
            "missing_worker_types": [role.value for role in space.missing],
            **({} if space.reason is None else {"reason": space.reason}),
        }
    document: dict[str, Any] = {"model": name, "ready": model.is_ready, "namespaces": spaces}
    if not model.is_ready:
        document["reason"] = "no namespace has a complete set of worker types"
    return document


def _needs(role: Role) -> tuple[Role, ...]:
    return {Role.PREFILL: (Role.DECODE,), Role.DECODE: (Role.PREFILL,)}.get(role, ())


def decisions(fleet: Fleet) -> bytes:
    """Newest first."""
    found = [one for model in fleet.models() for router in model.routers() for one in router.recent_decisions()]
    found.sort(key=lambda one: one.decided_s, reverse=True)
    shown = [{**msgspec.structs.asdict(one), "worker_id": f"{one.worker_id:x}"} for one in found]
    return msgspec.json.encode({"decisions": shown})


def fleet(fleet: Fleet) -> bytes:
    """Cards of all workers, and each router's view of them."""
    return msgspec.json.encode(
        {
            "workers": [{**msgspec.structs.asdict(card), "worker_id": card.hex_id} for card in fleet.cards],
            "routers": [
                {"model": model.name, "router": router.snapshot()}
                for model in fleet.models()
                for router in model.routers()
            ],
        }
    )


class ThresholdChange(msgspec.Struct, forbid_unknown_fields=True):
    """Body of POST /busy_threshold; null, like absence, changes nothing."""

    model: str
    active_decode_blocks_threshold: float | None = None
    active_prefill_tokens_threshold: int | None = None
    active_prefill_tokens_threshold_frac: float | None = None


def thresholds(model: ServedModel) -> dict[str, Any]:
    busy = model.router.thresholds
    return {
        "model": model.name,
        "active_decode_blocks_threshold": busy.active_decode_blocks,
        "active_prefill_tokens_threshold": busy.active_prefill_tokens,
        "active_prefill_tokens_threshold_frac": busy.active_prefill_tokens_frac,
    }


def change_thresholds(fleet: Fleet, body: bytes) -> dict[str, Any]:
    """Raises InvalidRequest or NotFound."""
    try:
        change = msgspec.json.decode(body, type=ThresholdChange)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        refuse_body(body, error, frozenset(ThresholdChange.__struct_fields__))
    model = fleet.known(change.model)
    if model is None:
        raise NotFound(
            f"Model {change.model!r} not found. Thresholds can only be set for discovered models.", param="model"
        )
    _check_range("active_decode_blocks_threshold", change.active_decode_blocks_threshold, 1.0)
    _check_range("active_prefill_tokens_threshold", change.active_prefill_tokens_threshold, None)
    _check_range("active_prefill_tokens_threshold_frac", change.active_prefill_tokens_threshold_frac, None)
    busy = _changed(model.router.thresholds, change)
    for router in model.routers():
        router.set_thresholds(busy)
    return thresholds(model)


def _changed(busy: BusyThresholds, change: ThresholdChange) -> BusyThresholds:
    new: dict[str, Any] = {
        "active_decode_blocks": change.active_decode_blocks_threshold,
        "active_prefill_tokens": change.active_prefill_tokens_threshold,
        "active_prefill_tokens_frac": change.active_prefill_tokens_threshold_frac,
    }
    return replace(busy, **{name: value for name, value in new.items() if value is not None})


def _check_range(name: str, value: float | None, most: float | None) -> None:
    if value is not None and (value < 0 or (most is not None and value > most)):
        allowed = "0 or more" if most is None else f"0 to {most:g}"
        raise InvalidRequest(f"{name}: found {value}; allowed {allowed}", param=name)
