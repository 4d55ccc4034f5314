"""The prompts of the prefix workload, and what came of them. Pure: the seed decides everything."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

FIRST_TOKEN_ID = 300
LAST_TOKEN_ID = 1300
"""Ids within this range exist in any tokenizer worth the name."""


@dataclass(frozen=True, slots=True)
class Shape:
    """Sizes of the workload; the defaults are those of docs/benchmarks.md."""

    groups: int = 24
    shared_tokens: int = 4096
    unique_tokens: int = 64
    output_tokens: int = 16
    requests: int = 960
    concurrency: int = 16
    workers: int = 4
    blocks_per_worker: int = 2600
    block_size: int = 16


@dataclass(frozen=True, slots=True)
class Answer:
    """What an engine reported for one request, and who answered."""

    worker: str
    prompt_tokens: int
    cached_tokens: int


def prompts(shape: Shape, seed: int) -> list[list[int]]:
    """Token ids of every request, groups in random order."""
    rng = random.Random(seed)
    shared = [_tokens(rng, shape.shared_tokens) for _ in range(shape.groups)]
    order = [index % shape.groups for index in range(shape.requests)]
    rng.shuffle(order)
    return [shared[group] + _tokens(rng, shape.unique_tokens) for group in order]


def hit_ratio(answers: Sequence[Answer]) -> float:
    return sum(answer.cached_tokens for answer in answers) / sum(answer.prompt_tokens for answer in answers)


def _tokens(rng: random.Random, count: int) -> list[int]:
    return rng.choices(range(FIRST_TOKEN_ID, LAST_TOKEN_ID), k=count)
