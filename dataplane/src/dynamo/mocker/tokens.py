"""Which token comes next: a pure function of the tokens so far, as in greedy decoding.

Any worker answers a prompt with the same tokens, and a prompt extended by the first part of its answer continues with
the rest; so a lost, repeated or invented token can be proved by whoever resumes a stream. The server builds one
`Answer` per choice; the scheduler asks it for tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

_MASK = (1 << 64) - 1
_BASE = 0x9E3779B97F4A7C15
"""Odd, so that the polynomial hash stays a bijection of each token modulo 2^64."""
MEAN_FREE_ANSWER_TOKENS = 64
MIN_FREE_ANSWER_TOKENS = 8


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The tokens an answer may consist of."""

    words: tuple[int, ...]
    end: int
    """End of the answer."""


class Answer(Protocol):
    """What a request will be told; `next_token` is called once per token, in order."""

    def next_token(self) -> int: ...


class FreeAnswer:
    """Words chosen by a rolling hash over prompt and answer."""

    def __init__(self, prompt: NDArray[np.uint32], vocabulary: Vocabulary, *, choice: int, ends: bool) -> None:
        """`choice` makes the answers of one request differ; with `ends` it stops by itself after some tokens."""
        self._state = (rolling_hash(prompt) + choice * 0xD1B54A32D192ED03) & _MASK
        self._vocabulary = vocabulary
        self._ends = ends
        self._given = 0

    def next_token(self) -> int:
        mixed = _mix(self._state)
        words = self._vocabulary.words
        may_end = self._ends and self._given >= MIN_FREE_ANSWER_TOKENS
        if may_end and (mixed >> 40) % MEAN_FREE_ANSWER_TOKENS == 0:
            token = self._vocabulary.end
        else:
            token = words[mixed % len(words)]
        self._state = (self._state * _BASE + token + 1) & _MASK
        self._given += 1
        return token


class ForcedAnswer:
    """A text that is settled beforehand (guided decoding, a tool call), then the end token for ever."""

    def __init__(self, tokens: Sequence[int], end: int) -> None:
        self._tokens = iter(tokens)
        self._end = end

    def next_token(self) -> int:
        return next(self._tokens, self._end)


def rolling_hash(tokens: NDArray[np.uint32]) -> int:
    """Sum of (token_j + 1) * base^(n-1-j) modulo 2^64; appending a token t maps h to h * base + t + 1."""
    count = len(tokens)
    if count == 0:
        return 0
    powers = _powers(1 << (count - 1).bit_length())
    with np.errstate(over="ignore"):
        terms = (tokens.astype(np.uint64) + np.uint64(1)) * powers[count - 1 :: -1]
        return int(terms.sum(dtype=np.uint64))


@lru_cache(maxsize=24)
def _powers(count: int) -> NDArray[np.uint64]:
    """base^0 … base^(count-1); one array per power of two, so at most 24 sizes exist."""
    powers = np.full(count, _BASE, dtype=np.uint64)
    powers[0] = 1
    with np.errstate(over="ignore"):
        return np.asarray(np.multiply.accumulate(powers), dtype=np.uint64)


def _mix(value: int) -> int:
    """SplitMix64's finalizer."""
    value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9 & _MASK
    value = (value ^ (value >> 27)) * 0x94D049BB133111EB & _MASK
    return value ^ (value >> 31)
