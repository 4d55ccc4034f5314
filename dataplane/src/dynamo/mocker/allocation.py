"""Gives sequences their KV blocks, finds blocks they can share, and collects what the cache has to tell of it.

A block is in the cache from the moment a step that fills it is scheduled, as in vLLM: a request admitted later in that
same step shares it, since both wait for the same computation. Pure; the scheduler alone calls it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from dynamo.mocker.cache import BlockPool, PoolSnapshot
from dynamo.mocker.sequence import Run
from dynamo.mocker.work import Admission, BlocksRemoved, CacheCleared, CacheEvent, Limits


class Allocator:
    """One rank's block pool, as sequences see it."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._pool = BlockPool(limits.total_blocks, keeps_prefixes=limits.prefix_caching)
        self._events: list[CacheEvent] = []

    def matched_blocks(self, run: Run) -> int:
        """Cached leading blocks of the run; at least one token is always computed."""
        if not self._limits.prefix_caching:
            return 0
        usable = (len(run.tokens) - 1) // self._limits.block_size
        return self._pool.match(run.keys_of(usable, self._limits.block_size))

    def can_start(self, run: Run, hits: int, tokens: int, running: Sequence[Run]) -> bool:
        """Whether there is room to share `hits` blocks and compute up to `tokens` tokens, as `Admission` asks."""
        shared = self._pool.matched_cached(run.keys[:hits])
        wanted = self._blocks(tokens) - hits + shared
        if self._limits.admission is not Admission.PROMPT:
            wanted = max(wanted, self._blocks(self._expected_tokens(run)) - hits + shared)
            wanted += sum(self._still_expected(other) for other in running)
            if not running:
                wanted = min(wanted, self._pool.available)
        return wanted <= self._pool.available

    def share(self, run: Run, hits: int) -> None:
        """The run holds its first `hits` blocks, which are there."""
        self._pool.hold(run.keys[:hits])
        run.committed = hits

    def grow(self, run: Run, tokens: int) -> bool:
        """Gives the run blocks for `tokens` tokens in all; False (and no change) when there are none."""
        missing = self._blocks(tokens) - run.committed - run.private
        if missing <= 0:
            return True
        evicted = self._pool.take(missing)
        if evicted is None:
            return False
        run.private += missing
        if evicted:
            self._events.append(BlocksRemoved(evicted))
        return True

    def commit(self, run: Run, tokens: int) -> None:
        """The first `tokens` tokens are computed or about to be: every full block gets its key and can be shared."""
        size = self._limits.block_size
        first, full = run.committed, tokens // size
        if not self._limits.prefix_caching or full <= first:
            return
        keys = run.keys_of(full, size)
        stored = [
            index for index in range(first, full) if self._pool.commit(keys[index], keys[index - 1] if index else None)
        ]
        run.private -= full - first
        run.committed = full
        self._events.extend(run.stored(first, last, size) for first, last in _spans(stored))

    def free(self, run: Run) -> None:
        self._pool.release(run.keys[: run.committed], run.private)
        run.committed = run.private = 0

    def clear(self) -> tuple[CacheEvent, ...]:
        """Forgets cached blocks; does nothing while a run holds any."""
        return (CacheCleared(),) if self._pool.clear() else ()

    def take_events(self) -> tuple[CacheEvent, ...]:
        """What happened since the last call, in order."""
        events, self._events = tuple(self._events), []
        return events

    def snapshot(self) -> PoolSnapshot:
        return self._pool.snapshot()

    def check(self, running: Sequence[Run]) -> None:
        """Asserts the invariants; linear in everything held."""
        self._pool.check()
        assert self._pool.snapshot().private == sum(run.private for run in running)
        for run in running:
            assert run.computed <= (run.committed + run.private) * self._limits.block_size

    def _blocks(self, tokens: int) -> int:
        return math.ceil(tokens / self._limits.block_size)

    def _still_expected(self, run: Run) -> int:
        return max(0, self._blocks(self._expected_tokens(run)) - run.committed - run.private)

    def _expected_tokens(self, run: Run) -> int:
        left = run.work.max_tokens - run.emitted
        if self._limits.admission is Admission.ESTIMATE:
            left = math.ceil(self._limits.answer_share * min(left, self._limits.answer_clip_tokens))
        return len(run.tokens) + max(0, left)


def _spans(indices: Sequence[int]) -> list[tuple[int, int]]:
    """(first, last) of each run without gaps in ascending numbers."""
    spans: list[tuple[int, int]] = []
    for index in indices:
        if spans and spans[-1][1] == index - 1:
            spans[-1] = (spans[-1][0], index)
        else:
            spans.append((index, index))
    return spans
