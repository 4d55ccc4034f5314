"""What sending a prompt to a worker costs, in KV blocks: the formula of mode kv.

The base is upstream's, term by term (B: tokens per block):

    prefill = scale * max(0, (active_prefill_tokens + prompt_tokens) / B - credit)
    credit  = overlap_credit * decay * device_overlap + host_hit * host_overlap + disk_hit * disk_overlap
    decay   = 1 / (1 + overlap_credit_decay * (active_prefill - least active_prefill) / B / prompt_blocks)
    base    = prefill + (distinct blocks in use after adding the prompt) + active_request * requests

Alone, the base copies every prefix to every worker when caches are small against contexts: a worker that runs two more
conversations than another looks dearer than computing a prefix a second time, the copy pushes another prefix out, that
one is computed again elsewhere, and so on. Two terms price the cache, which is a resource of the whole fleet:

    duplicate = price of a copied block * max(0, holder's device_overlap - device_overlap)      (see `copies`)
    eviction  = eviction_weight * (proven blocks displaced + UNPROVEN_SHARE * other blocks displaced)

Displaced blocks are new blocks beyond what is free (all blocks less those held), proven ones those beyond what is free
or was never reused. So a new prefix goes where there is room that nobody misses.

Pure; called by `choice`. All candidates are computed at once: each name below is a column, one entry per candidate.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec
import numpy as np

from dynamo.router.columns import Flags, Floats, Ints
from dynamo.router.config import CostWeights

UNPROVEN_SHARE = 0.25
"""Chance that a block nobody reused yet would have been reused: conversations return, one-off tails do not."""


class Prompt(msgspec.Struct, frozen=True, gc=False):
    """A prompt's size."""

    tokens: int
    blocks: int
    block_size: int


class Copies(msgspec.Struct, frozen=True, gc=False):
    """What having the prompt's prefix twice is worth."""

    price: float = 0.0
    """Of a copied block, in blocks; below 0 when copies are wanted."""
    held_blocks: int = 0
    """Leading blocks of the prompt that the best holder has."""


@dataclass(frozen=True, slots=True)
class Candidates:
    """Slots as one prompt sees them. Blocks and tokens are of the slot and, where said, of the prompt."""

    requests: Ints
    prefill_tokens: Ints
    decode_blocks: Ints
    """Distinct blocks in use by running requests."""
    shared_blocks: Ints
    """Of the prompt's blocks, those that running requests use already."""
    device_overlap: Ints
    host_overlap: Ints
    disk_overlap: Ints
    total_blocks: Ints
    held_blocks: Ints
    proven_blocks: Ints
    is_saturated: Flags
    """The slot could not start another request soon."""


@dataclass(frozen=True, slots=True)
class Costs:
    """Costs in blocks, by term."""

    total: Floats
    prefill: Floats
    decode: Floats
    duplicate: Floats
    eviction: Floats


def costs(them: Candidates, prompt: Prompt, weights: CostWeights, copies: Copies) -> Costs:
    prefill = _prefill(them, prompt, weights)
    decode = them.decode_blocks + prompt.blocks - them.shared_blocks + weights.active_request * them.requests
    duplicate = copies.price * np.maximum(0, copies.held_blocks - them.device_overlap)
    eviction = weights.eviction * displaced(them, prompt)
    return Costs(prefill + decode + duplicate + eviction, prefill, decode, duplicate, eviction)


def displaced(them: Candidates, prompt: Prompt) -> Floats:
    """Blocks that the prompt pushes out of each cache, weighed by how likely somebody comes back for them."""
    new = np.maximum(0, prompt.blocks - them.device_overlap)
    pushed_out = np.minimum(new, np.maximum(0, new - (them.total_blocks - them.held_blocks)))
    proven = np.minimum(pushed_out, np.maximum(0, new - (them.total_blocks - them.proven_blocks)))
    weighed: Floats = proven + UNPROVEN_SHARE * (pushed_out - proven)
    return weighed


def _prefill(them: Candidates, prompt: Prompt, weights: CostWeights) -> Floats:
    size = prompt.block_size
    credit = weights.overlap_credit * them.device_overlap
    if weights.overlap_credit_decay:
        above = (them.prefill_tokens - them.prefill_tokens.min()) / size / max(1, prompt.blocks)
        credit = credit / (1 + weights.overlap_credit_decay * above)
    credit = credit + (weights.host_hit * them.host_overlap + weights.disk_hit * them.disk_overlap)
    uncached = np.maximum(0.0, (them.prefill_tokens + prompt.tokens) / size - credit)
    prefill: Floats = weights.prefill_load_scale * uncached
    return prefill
