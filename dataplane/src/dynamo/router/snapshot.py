"""What a router knows of each worker, as plain values for /debug pages and metrics. Reads only.

Called by the router.
"""

from __future__ import annotations

from dynamo.router.caches import Caches
from dynamo.router.fleet import Roster
from dynamo.router.loads import Loads


def describe(roster: Roster, loads: Loads, caches: Caches, inhibited: frozenset[int]) -> list[dict[str, object]]:
    """One entry per rank, in the roster's order."""
    held, proven = caches.held_of(roster.slots).tolist(), caches.proven_of(roster.slots).tolist()
    found: list[dict[str, object]] = []
    for position, member in enumerate(roster.members):
        load = loads.at(position)
        found.append(
            {
                "worker_id": member.card.hex_id,
                "name": member.card.name,
                "dp_rank": member.dp_rank,
                "address": member.card.address,
                "requests": load.requests,
                "prefill_tokens": load.prefill_tokens,
                "decode_blocks": load.decode_blocks,
                "held_blocks": held[position],
                "proven_blocks": proven[position],
                "total_kv_blocks": member.card.total_kv_blocks,
                "is_inhibited": member.worker_id in inhibited,
            }
        )
    return found
