"""What sending a prompt to a worker costs, in KV blocks: the formula of mode kv, and the reason in words.

The base is upstream's, term by term (B: tokens per block):

    prefill = scale * max(0, (active_prefill_tokens + prompt_tokens) / B - credit)
    credit  = overlap_credit * decay * device_overlap + host_hit * host_overlap + disk_hit * disk_overlap
    decay   = 1 / (1 + overlap_credit_decay * (active_prefill - least active_prefill) / B / prompt_blocks)
    base    = prefill + (distinct blocks in use after adding the prompt) + active_request * requests

Alone, the base copies every prefix to every worker when caches are small against contexts: a worker that runs two more
conversations than another looks dearer than computing a prefix a second time, the copy pushes another prefix out, that
one is computed again elsewhere, and so on. Two terms price the cache, which is a resource of the whole fleet:

    duplicate = price * overlap_credit * max(0, holder's device_overlap - device_overlap)
    eviction  = eviction_weight * (proven blocks displaced + UNPROVEN_SHARE * other blocks displaced)

The holder is the candidate with the longest overlap that is not saturated (prefill backlog of several engine steps, KV
blocks nearly all in use, or all sequence slots taken); with every holder saturated the term is 0 and the
prefix spreads. The price of a duplicated block depends on how far the prefix itself is the load: on x, the holder's
running requests that share the prefix over a worker's fair share of all running requests.

    x <= 1/2    duplicate_weight: a prefix of few users stays where it is, whatever else runs there
    x >= 1      -WAIVED: a copy will serve a fair share of requests, so its prefill and its blocks are waived
    between     linear

So a system prompt that everybody uses reaches every worker, and a conversation stays while the imbalance is below about
`duplicate_weight` times its size. Small counts say little, so a fair share is FEW_REQUESTS at least, and MANY_REQUESTS
while the prefix is still being computed for its first users: a copy would not be there sooner, only a crowd is worth
splitting. Prompts without overlap have no duplicate term, so they balance as in the base.

Displaced blocks are new blocks beyond what is free (all blocks less those held), proven ones those beyond what is free
or was never reused. So a new prefix goes where there is room that nobody misses.

Pure; called by the router.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from dynamo.router.config import CostWeights

UNPROVEN_SHARE = 0.25
"""Chance that a block nobody reused yet would have been reused: conversations return, one-off tails do not."""
FEW_REQUESTS = 4
"""A worker with fewer running requests than this needs no relief, whatever its share of the fleet's."""
WAIVED = 2.0
"""A copied block costs one block of prefill and one in use: both are waived for a prefix that is a load of its own."""

MANY_REQUESTS = 32
"""Requests that may wait for one computation of their common prefix before a second worker computes it too."""


class Candidate(msgspec.Struct, frozen=True, gc=False):
    """A slot as one prompt sees it. Blocks and tokens are of that slot and, where said, of that prompt."""

    slot: int
    requests: int = 0
    prefill_tokens: int = 0
    decode_blocks: int = 0
    """Distinct blocks in use by running requests."""
    shared_blocks: int = 0
    """Of the prompt's blocks, those that running requests use already."""
    device_overlap: int = 0
    host_overlap: int = 0
    disk_overlap: int = 0
    prefix_users: int = 0
    """Running requests that share the prompt's overlap."""
    prefix_is_computed: bool = True
    """False while the overlap is being computed for the first of them."""
    total_blocks: int | None = None
    held_blocks: int = 0
    proven_blocks: int = 0
    is_saturated: bool = False


class Prompt(msgspec.Struct, frozen=True, gc=False):
    """A prompt's size."""

    tokens: int
    blocks: int
    block_size: int


class Cost(msgspec.Struct, frozen=True, gc=False):
    """A candidate's cost, in blocks, by term."""

    total: float
    prefill: float
    decode: float
    duplicate: float
    eviction: float


def costs(candidates: Sequence[Candidate], prompt: Prompt, weights: CostWeights) -> list[Cost]:
    """One cost per candidate, in the same order."""
    least_prefill = min((candidate.prefill_tokens for candidate in candidates), default=0)
    base = [_base(candidate, prompt, weights, least_prefill) for candidate in candidates]
    price, held = _copy_price(candidates, weights)
    found = []
    for candidate, (prefill, decode) in zip(candidates, base, strict=True):
        duplicate = price * (held - candidate.device_overlap) if candidate.device_overlap < held else 0.0
        eviction = weights.eviction * displaced(candidate, prompt) if weights.eviction else 0.0
        found.append(Cost(prefill + decode + duplicate + eviction, prefill, decode, duplicate, eviction))
    return found


def displaced(candidate: Candidate, prompt: Prompt) -> float:
    """Blocks that the prompt pushes out of the slot's cache, weighed by how likely somebody comes back for them."""
    new = prompt.blocks - candidate.device_overlap
    if candidate.total_blocks is None or new <= 0:
        return 0.0
    free = candidate.total_blocks - candidate.held_blocks
    pushed_out = min(new, max(0, new - free))
    proven = min(pushed_out, max(0, new - (candidate.total_blocks - candidate.proven_blocks)))
    return proven + UNPROVEN_SHARE * (pushed_out - proven)


def _base(candidate: Candidate, prompt: Prompt, weights: CostWeights, least_prefill: int) -> tuple[float, float]:
    """Upstream's formula: prefill term, and the rest."""
    size = prompt.block_size
    credit = weights.overlap_credit * candidate.device_overlap
    if weights.overlap_credit_decay and credit:
        above = (candidate.prefill_tokens - least_prefill) / size / max(1, prompt.blocks)
        credit /= 1 + weights.overlap_credit_decay * above
    if candidate.host_overlap or candidate.disk_overlap:
        credit += weights.host_hit * candidate.host_overlap + weights.disk_hit * candidate.disk_overlap
    prefill = weights.prefill_load_scale * max(0.0, (candidate.prefill_tokens + prompt.tokens) / size - credit)
    decode = candidate.decode_blocks + prompt.blocks - candidate.shared_blocks
    return prefill, decode + weights.active_request * candidate.requests


def _copy_price(candidates: Sequence[Candidate], weights: CostWeights) -> tuple[float, int]:
    """What a duplicated block weighs, and how many leading blocks of the prompt the best holder has."""
    holders = [c for c in candidates if c.device_overlap and not c.is_saturated]
    if not holders or not weights.duplicate or not weights.overlap_credit:
        return 0.0, 0
    holder = max(holders, key=lambda candidate: (candidate.device_overlap, -candidate.prefix_users))
    running = sum(candidate.requests for candidate in candidates)
    fewest = FEW_REQUESTS if holder.prefix_is_computed else MANY_REQUESTS
    crowding = holder.prefix_users / max(fewest, running / len(candidates))
    relief = min(1.0, max(0.0, 2 * crowding - 1))
    price = weights.duplicate * (1 - relief) - WAIVED * relief
    return price * weights.overlap_credit, holder.device_overlap
