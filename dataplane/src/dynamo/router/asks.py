"""What a router is asked and what it answers: frozen values that cross to the frontend, logs and /debug."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from dynamo.router.config import Mode
from dynamo.wire.router_events import Hashes


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """One request, as far as choosing a worker needs it."""

    request_id: str
    model: str
    token_count: int | None = None
    """Prompt tokens; None: nobody counted, mode kv then goes by requests in flight."""
    hashes: Hashes | None = None
    """Sequence hashes of the prompt's full blocks (`dynamo.wire.blocks`)."""
    lora: str | None = None
    """Adapter that the worker must have loaded."""
    pinned_worker_id: int | None = None
    dp_rank: int | None = None
    allowed_worker_ids: frozenset[int] | None = None
    excluded_worker_ids: frozenset[int] = frozenset()
    """Workers that this request must not see again, e.g. because they failed it."""
    priority: float = 0.0
    """Larger goes earlier among waiting requests of the same strict priority."""
    strict_priority: int = 0


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """Where a request goes and why."""

    request_id: str
    worker_id: int
    dp_rank: int
    address: str
    worker_name: str
    mode: Mode
    reason: str
    overlap_blocks: int = 0
    """Leading blocks of the prompt that the worker should have on its device."""
    total_blocks: int = 0
    scores: Mapping[str, float] = {}
    """Cost by worker (`name` or `name/rank`), the cheapest 32; empty in modes that do not score."""
    decided_s: float
    """By the router's clock."""
    best_overlap_blocks: int = 0
    """The longest overlap among the candidates, chosen or not."""
