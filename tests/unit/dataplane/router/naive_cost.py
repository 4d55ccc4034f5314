"""The cost formula as its definition says it, one candidate at a time: the model that the columns are held against."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass

import numpy as np

from dynamo.router.config import CostWeights
from dynamo.router.cost import UNPROVEN_SHARE, Candidates, Copies, Prompt
from dynamo.router.fleet import UNLIMITED


@dataclass(frozen=True, slots=True)
class Candidate:
    """One entry of each column of `Candidates`."""

    requests: int = 0
    prefill_tokens: int = 0
    decode_blocks: int = 0
    shared_blocks: int = 0
    device_overlap: int = 0
    host_overlap: int = 0
    disk_overlap: int = 0
    total_blocks: int = UNLIMITED
    held_blocks: int = 0
    proven_blocks: int = 0
    is_saturated: bool = False


def columns(candidates: Sequence[Candidate]) -> Candidates:
    return Candidates(*(np.array(column) for column in zip(*map(astuple, candidates), strict=True)))


def naive_total(
    it: Candidate, prompt: Prompt, weights: CostWeights, copies: Copies, least_prefill_tokens: int
) -> float:
    above = (it.prefill_tokens - least_prefill_tokens) / prompt.block_size / max(1, prompt.blocks)
    credit = weights.overlap_credit * it.device_overlap / (1 + weights.overlap_credit_decay * above)
    credit += weights.host_hit * it.host_overlap + weights.disk_hit * it.disk_overlap
    uncached = (it.prefill_tokens + prompt.tokens) / prompt.block_size - credit
    total = weights.prefill_load_scale * max(0.0, uncached)
    total += it.decode_blocks + prompt.blocks - it.shared_blocks + weights.active_request * it.requests
    if it.device_overlap < copies.held_blocks:
        total += copies.price * (copies.held_blocks - it.device_overlap)
    return total + weights.eviction * naive_displaced(it, prompt)


def naive_displaced(it: Candidate, prompt: Prompt) -> float:
    """New blocks take the free ones first, then what nobody reused, then the rest."""
    displaced = 0.0
    free, unproven = it.total_blocks - it.held_blocks, it.held_blocks - it.proven_blocks
    for number in range(prompt.blocks - it.device_overlap):
        if number >= free + unproven:
            displaced += 1
        elif number >= free:
            displaced += UNPROVEN_SHARE
    return displaced
