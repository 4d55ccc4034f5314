"""The prompts of the prefix workload, and what came of them. Pure: the seed decides everything."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

FIRST_TOKEN_ID = 300
LAST_TOKEN_ID = 1300
"""Ids within this range exist in any tokenizer worth the name."""
ORDERS = ("random", "round-robin", "grouped")
"""Groups shuffled, taking turns, or one after another."""
_WORDS = [
    *("the", "of", "and", "to", "in", "is", "you", "that", "it", "he", "was", "for", "on", "are", "as", "with"),
    *("his", "they", "at", "be", "this", "have", "from", "or", "one", "had", "by", "word", "but", "not", "what"),
]
"""One token each in the shipped tokenizer."""


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


def completions(shape: Shape, seed: int, order: str) -> list[dict[str, Any]]:
    """Bodies of /v1/completions, without model and limits: prompts of token ids."""
    rng = random.Random(seed)
    shared = [_tokens(rng, shape.shared_tokens) for _ in range(shape.groups)]
    return [{"prompt": shared[group] + _tokens(rng, shape.unique_tokens)} for group in _groups(shape, rng, order)]


def chats(shape: Shape, seed: int, order: str) -> list[dict[str, Any]]:
    """Bodies of /v1/chat/completions: about as many tokens, as a system message and a user's."""
    rng = random.Random(seed)
    shared = [_text(rng, shape.shared_tokens) for _ in range(shape.groups)]
    return [
        {
            "messages": [
                {"role": "system", "content": shared[group]},
                {"role": "user", "content": _text(rng, shape.unique_tokens)},
            ]
        }
        for group in _groups(shape, rng, order)
    ]


def hit_ratio(answers: Sequence[Answer]) -> float:
    return sum(answer.cached_tokens for answer in answers) / sum(answer.prompt_tokens for answer in answers)


def _groups(shape: Shape, rng: random.Random, order: str) -> list[int]:
    """The group of each request."""
    groups = [index % shape.groups for index in range(shape.requests)]
    if order == "random":
        rng.shuffle(groups)
    return sorted(groups) if order == "grouped" else groups


def _text(rng: random.Random, tokens: int) -> str:
    return " ".join(rng.choices(_WORDS, k=tokens))


def _tokens(rng: random.Random, count: int) -> list[int]:
    return rng.choices(range(FIRST_TOKEN_ID, LAST_TOKEN_ID), k=count)
