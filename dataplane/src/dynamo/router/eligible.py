"""Who may serve a request at all: filters in upstream's order, each with an error that says what left nobody.

allowed ids -> pin -> data-parallel rank -> adapter -> inhibited -> busy. No worker at all is `Unavailable` (503), only
busy ones is `Overloaded` (529), a pin that fits nobody is `InvalidRequest` (400). Pure; called by the router.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from dynamo.router.active import SlotLoad
from dynamo.router.asks import Ask
from dynamo.router.config import BusyThresholds
from dynamo.router.fleet import Member
from dynamo.wire.errors import InvalidRequest, Overloaded, Unavailable

RETRY_AFTER_S = 1
_NAMES_SHOWN = 8


def eligible(ask: Ask, members: Sequence[Member], inhibited: frozenset[int]) -> Sequence[Member]:
    """Members that could serve the request, busy or not. Raises Unavailable or InvalidRequest."""
    if not members:
        raise Unavailable(f"model {ask.model}: no worker is there", retry_after_s=RETRY_AFTER_S)
    if ask.excluded_worker_ids:
        members = _kept(members, lambda member: member.worker_id not in ask.excluded_worker_ids)
        if not members:
            raise Unavailable(f"model {ask.model}: every worker has failed this request", retry_after_s=RETRY_AFTER_S)
    if ask.allowed_worker_ids is not None:
        allowed = ask.allowed_worker_ids
        members = _kept(members, lambda member: member.worker_id in allowed)
        if not members:
            raise Unavailable(f"model {ask.model}: none of the {len(allowed)} allowed workers is there")
    if ask.pinned_worker_id is not None:
        members = _pinned(ask, ask.pinned_worker_id, members)
    if ask.dp_rank is not None:
        members = _on_rank(ask, ask.dp_rank, members)
    if ask.lora is not None:
        lora = ask.lora
        members = _kept(members, lambda member: lora in member.card.loras)
        if not members:
            raise Unavailable(f"model {ask.model}: no worker has adapter {lora} loaded", retry_after_s=RETRY_AFTER_S)
    if inhibited:
        members = _kept(members, lambda member: member.worker_id not in inhibited) or members
    return members


def not_busy(
    model: str, members: Sequence[Member], thresholds: BusyThresholds, load: Callable[[int], SlotLoad]
) -> Sequence[Member]:
    """Members below every threshold. Raises Overloaded, naming the setting, what was measured and the limit."""
    if thresholds == BusyThresholds():
        return members
    found = [busy_reason(member, thresholds, load(member.slot)) for member in members]
    free = [member for member, reason in zip(members, found, strict=True) if reason is None]
    if not free:
        workers = len({member.worker_id for member in members})
        raise Overloaded(
            f"model {model}: all {workers} eligible workers are busy, e.g. {members[0].label}: {found[0]}; retry later",
            retry_after_s=RETRY_AFTER_S,
        )
    return free


def busy_reason(member: Member, thresholds: BusyThresholds, load: SlotLoad) -> str | None:
    """Which threshold the rank exceeds; None: it may take more."""
    total = member.card.total_kv_blocks
    fraction = thresholds.active_decode_blocks
    if fraction is not None and total and load.decode_blocks > fraction * total:
        return (
            f"{load.decode_blocks} of {total} KV blocks in use ({load.decode_blocks / total:.2f}), "
            f"--active-decode-blocks-threshold is {fraction:g}"
        )
    tokens = thresholds.active_prefill_tokens
    if tokens is not None and load.prefill_tokens > tokens:
        return f"{load.prefill_tokens} prompt tokens to compute, --active-prefill-tokens-threshold is {tokens}"
    steps = thresholds.active_prefill_tokens_frac
    if steps is not None and load.prefill_tokens > steps * member.step_tokens:
        return (
            f"{load.prefill_tokens} prompt tokens to compute ({load.prefill_tokens / member.step_tokens:.2f} of the "
            f"{member.step_tokens} per step), --active-prefill-tokens-threshold-frac is {steps:g}"
        )
    return None


def _pinned(ask: Ask, worker_id: int, members: Sequence[Member]) -> Sequence[Member]:
    found = _kept(members, lambda member: member.worker_id == worker_id)
    if not found:
        known = sorted({member.card.hex_id for member in members})
        shown = ", ".join(known[:_NAMES_SHOWN]) + (", …" if len(known) > _NAMES_SHOWN else "")
        raise InvalidRequest(f"model {ask.model}: found worker id {worker_id:x}, expected one of {shown}")
    return found


def _on_rank(ask: Ask, rank: int, members: Sequence[Member]) -> Sequence[Member]:
    found = _kept(members, lambda member: member.dp_rank == rank)
    if not found:
        most = max(member.card.data_parallel_size for member in members) - 1
        raise InvalidRequest(f"model {ask.model}: found dp_rank {rank}, expected 0 to {most}", param="dp_rank")
    return found


def _kept(members: Sequence[Member], keep: Callable[[Member], bool]) -> list[Member]:
    return [member for member in members if keep(member)]
