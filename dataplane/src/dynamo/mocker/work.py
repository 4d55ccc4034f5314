"""The values a scheduler takes and returns: limits, work, steps, cache events. Frozen, without behaviour.

Written and read by the scheduler, the live engine and simulations.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass

from dynamo.mocker.timing import StepLoad
from dynamo.mocker.tokens import Answer


class Preemption(enum.Enum):
    """Who gives way when blocks run out: the newest or the oldest running request."""

    LIFO = "lifo"
    FIFO = "fifo"


class Admission(enum.Enum):
    """Which blocks must be available before a request starts."""

    PROMPT = "prompt"
    """Those of its prompt (vLLM)."""
    ESTIMATE = "estimate"
    """Prompt and a clipped estimate of its answer (SGLang)."""
    WORST_CASE = "worst_case"
    """Prompt and longest possible answer, so that nothing is ever preempted (TensorRT-LLM)."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a rank may hold and compute."""

    total_blocks: int
    block_size: int
    max_num_seqs: int = 256
    max_num_batched_tokens: int = 8192
    chunked_prefill: bool = True
    prefix_caching: bool = True
    preemption: Preemption = Preemption.LIFO
    admission: Admission = Admission.PROMPT
    answer_clip_tokens: int = 4096
    answer_share: float = 1.0
    """With `Admission.ESTIMATE`: expected answer = share * min(tokens left, clip)."""
    longest_prefix_first: bool = False
    """Admit the waiting request with the longest cached prefix first, instead of the oldest."""

    @property
    def capacity_tokens(self) -> int:
        return self.total_blocks * self.block_size


@dataclass(frozen=True, slots=True)
class Work:
    """One sequence to generate."""

    request_id: str
    prompt: Sequence[int]
    max_tokens: int
    answer: Answer
    stop_tokens: frozenset[int] = frozenset()
    """Tokens that end the answer, once `min_tokens` were given."""
    min_tokens: int = 0
    cache_root: int = 0
    """Separates caches: equal prompts share blocks only under the same root (adapter, tenant)."""
    lora: str | None = None
    salt: str | None = None
    prompt_is_transferred: bool = False
    """The prompt's KV came from a prefill worker: all but the last token is computed already."""


class Finish(enum.Enum):
    STOP = "stop"
    LENGTH = "length"


@dataclass(frozen=True, slots=True)
class Emitted:
    """A token of one request, and whether it was the last; `token` is None for an answer of no tokens."""

    request_id: str
    token: int | None
    finish: Finish | None
    cached_tokens: int
    """Prompt tokens found in the cache when the request was admitted."""


@dataclass(frozen=True, slots=True)
class BlocksStored:
    keys: tuple[int, ...]
    parent: int | None
    tokens: tuple[int, ...]
    lora: str | None
    salt: str | None


@dataclass(frozen=True, slots=True)
class BlocksRemoved:
    keys: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class CacheCleared:
    pass


CacheEvent = BlocksStored | BlocksRemoved | CacheCleared


@dataclass(frozen=True, slots=True)
class Step:
    """What one step does; `duration_s` after its start, `emitted` and `events` are visible."""

    duration_s: float
    load: StepLoad
    emitted: tuple[Emitted, ...]
    events: tuple[CacheEvent, ...]
    started: tuple[str, ...]
    """Requests that left the queue for the first time in this step."""


@dataclass(frozen=True, slots=True)
class RankLoad:
    """How busy the rank is now."""

    running: int
    waiting: int
    active_blocks: int
    """Blocks that requests hold."""
    prefill_tokens: int
    """Prompt tokens of running and waiting requests that are not computed yet."""
    used_blocks: int
    total_blocks: int
