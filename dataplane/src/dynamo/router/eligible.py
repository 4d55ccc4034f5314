"""Who may serve a request at all: filters in upstream's order, each with an error that says what left nobody.

allowed ids -> pin -> data-parallel rank -> adapter -> inhibited -> busy. No worker at all is `Unavailable` (503), only
busy ones is `Overloaded` (529), a pin that fits nobody is `InvalidRequest` (400). Pure; called by the router.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from dynamo.router.asks import Ask
from dynamo.router.columns import Flags
from dynamo.router.config import BusyThresholds
from dynamo.router.fleet import UNLIMITED, Roster
from dynamo.router.loads import Loads
from dynamo.wire.errors import InvalidRequest, Overloaded, Unavailable

RETRY_AFTER_S = 1
_NAMES_SHOWN = 8


def eligible(ask: Ask, roster: Roster, inhibited: frozenset[int]) -> Roster:
    """Members that could serve the request, busy or not. Raises Unavailable or InvalidRequest."""
    if not len(roster):
        raise Unavailable(f"model {ask.model}: no worker is there", retry_after_s=RETRY_AFTER_S)
    if ask.excluded_worker_ids:
        roster = roster.only(lambda member: member.worker_id not in ask.excluded_worker_ids)
        if not len(roster):
            raise Unavailable(f"model {ask.model}: every worker has failed this request", retry_after_s=RETRY_AFTER_S)
    if (allowed := ask.allowed_worker_ids) is not None:
        roster = roster.only(lambda member: member.worker_id in allowed)
        if not len(roster):
            raise Unavailable(f"model {ask.model}: none of the {len(allowed)} allowed workers is there")
    if ask.pinned_worker_id is not None:
        roster = _pinned(ask, ask.pinned_worker_id, roster)
    if ask.dp_rank is not None:
        roster = _on_rank(ask, ask.dp_rank, roster)
    if (lora := ask.lora) is not None:
        roster = roster.only(lambda member: lora in member.card.loras)
        if not len(roster):
            raise Unavailable(f"model {ask.model}: no worker has adapter {lora} loaded", retry_after_s=RETRY_AFTER_S)
    if inhibited:
        others = roster.only(lambda member: member.worker_id not in inhibited)
        return others if len(others) else roster
    return roster


def not_busy(model: str, roster: Roster, thresholds: BusyThresholds, loads: Loads) -> Flags | None:
    """A mask of the members below every threshold; None: no threshold is set.

    Raises Overloaded, naming the setting, what was measured and the limit, when everybody is busy.
    """
    limits = _limits(roster, thresholds, loads)
    if not limits:
        return None
    is_busy: Flags = np.logical_or.reduce([limit.is_exceeded for limit in limits])
    if is_busy.all():
        workers = len({member.worker_id for member in roster.members})
        why = next(limit.says(0) for limit in limits if limit.is_exceeded[0])
        raise Overloaded(
            f"model {model}: all {workers} eligible workers are busy, e.g. {roster.members[0].label}: {why}; "
            "retry later",
            retry_after_s=RETRY_AFTER_S,
        )
    return ~is_busy


@dataclass(frozen=True, slots=True)
class _Limit:
    is_exceeded: Flags
    says: Callable[[int], str]
    """By position: what was measured, and the setting."""


def _limits(roster: Roster, thresholds: BusyThresholds, loads: Loads) -> list[_Limit]:
    """One per threshold that is set."""
    blocks, tokens = loads.decode_blocks, loads.prefill_tokens
    total, per_step = roster.total_blocks, roster.step_tokens
    limits = []
    if (fraction := thresholds.active_decode_blocks) is not None:
        limits.append(
            _Limit(
                (blocks > fraction * total) & (total < UNLIMITED),
                lambda at: (
                    f"{blocks[at]} of {total[at]} KV blocks in use ({blocks[at] / total[at]:.2f}), "
                    f"--active-decode-blocks-threshold is {fraction:g}"
                ),
            )
        )
    if (most := thresholds.active_prefill_tokens) is not None:
        limits.append(
            _Limit(
                tokens > most,
                lambda at: f"{tokens[at]} prompt tokens to compute, --active-prefill-tokens-threshold is {most}",
            )
        )
    if (steps := thresholds.active_prefill_tokens_frac) is not None:
        limits.append(
            _Limit(
                tokens > steps * per_step,
                lambda at: (
                    f"{tokens[at]} prompt tokens to compute ({tokens[at] / per_step[at]:.2f} of the {per_step[at]} "
                    f"per step), --active-prefill-tokens-threshold-frac is {steps:g}"
                ),
            )
        )
    return limits


def _pinned(ask: Ask, worker_id: int, roster: Roster) -> Roster:
    found = roster.only(lambda member: member.worker_id == worker_id)
    if not len(found):
        known = sorted({member.card.hex_id for member in roster.members})
        shown = ", ".join(known[:_NAMES_SHOWN]) + (", …" if len(known) > _NAMES_SHOWN else "")
        raise InvalidRequest(f"model {ask.model}: found worker id {worker_id:x}, expected one of {shown}")
    return found


def _on_rank(ask: Ask, rank: int, roster: Roster) -> Roster:
    found = roster.only(lambda member: member.dp_rank == rank)
    if not len(found):
        most = max(member.card.data_parallel_size for member in roster.members) - 1
        raise InvalidRequest(f"model {ask.model}: found dp_rank {rank}, expected 0 to {most}", param="dp_rank")
    return found
