"""Continuous batching on one rank: which requests run, what each step computes, what it emits.

Pure: time is an argument, tokens come from each request's `Answer`, KV events are values. The live engine drives it on
the wall clock, simulations on virtual time. A step's effects are booked when it starts and become visible after its
duration. It never blocks, logs or touches sockets.
"""

from __future__ import annotations

import math
from array import array
from collections import deque
from dataclasses import dataclass, field

import xxhash

from dynamo.mocker.cache import BlockPool
from dynamo.mocker.timing import Speed, StepLoad
from dynamo.mocker.work import (
    Admission,
    BlocksRemoved,
    BlocksStored,
    CacheCleared,
    CacheEvent,
    Emitted,
    Finish,
    Limits,
    Preemption,
    RankLoad,
    Step,
    Work,
)

ENGINE_HASH_SEED = 0x6D6F636B
"""Differs from the router's on purpose: an engine's block keys are opaque to everybody else."""


@dataclass(slots=True, eq=False)
class _Run:
    """A sequence on its way; changed only by the scheduler."""

    work: Work
    tokens: array[int]
    keys: list[int] = field(default_factory=list)
    """Keys of all full blocks of `tokens` known so far."""
    committed: int = 0
    """Leading blocks that are in the pool under their key and held by this run."""
    private: int = 0
    computed: int = 0
    """Leading tokens whose KV exists."""
    emitted: int = 0
    cached_tokens: int = 0
    is_running: bool = False

    @property
    def pending(self) -> int:
        return len(self.tokens) - self.computed


class Scheduler:
    """One rank's queue, batch and cache."""

    def __init__(self, limits: Limits, speed: Speed) -> None:
        self.limits = limits
        self.preemptions = 0
        self.prefix_queries = 0
        """Prompt tokens looked up in the cache since the start."""
        self.prefix_hits = 0
        self._speed = speed
        self._pool = BlockPool(limits.total_blocks, keeps_prefixes=limits.prefix_caching)
        self._waiting: deque[_Run] = deque()
        self._running: list[_Run] = []
        self._by_id: dict[str, _Run] = {}
        self._started: list[str] = []

    @property
    def has_work(self) -> bool:
        return bool(self._by_id)

    def fits(self, tokens: int) -> bool:
        """Whether a sequence of `tokens` in all can ever run here."""
        prefill_fits = self.limits.chunked_prefill or tokens <= self.limits.max_num_batched_tokens
        return prefill_fits and tokens <= self.limits.capacity_tokens

    def submit(self, work: Work) -> None:
        """Queues the work; its prompt must not be empty and prompt + max_tokens must fit (see `fits`)."""
        assert work.prompt
        assert work.request_id not in self._by_id
        run = _Run(work, array("I", work.prompt))
        self._by_id[work.request_id] = run
        self._waiting.append(run)

    def abort(self, request_id: str) -> bool:
        """Forgets the request and frees its blocks at once; False if it is not here."""
        run = self._by_id.pop(request_id, None)
        if run is None:
            return False
        if run in self._running:
            self._running.remove(run)
            self._free(run)
        else:
            self._waiting.remove(run)
        return True

    def clear_cache(self) -> tuple[CacheEvent, ...]:
        """Forgets cached blocks; does nothing while a request runs."""
        return (CacheCleared(),) if self._pool.clear() else ()

    def load(self) -> RankLoad:
        pool = self._pool.snapshot()
        unstarted = sum(len(run.work.prompt) for run in self._waiting)
        started = sum(max(0, len(run.work.prompt) - run.computed) for run in self._running)
        return RankLoad(
            running=len(self._running),
            waiting=len(self._waiting),
            active_blocks=pool.used,
            prefill_tokens=unstarted + started,
            used_blocks=pool.used + pool.cached,
            total_blocks=self.limits.total_blocks,
        )

    def step(self) -> Step:
        """Computes one batch: decodes and prefill chunks of running requests first, then admits waiting ones."""
        events: list[CacheEvent] = []
        self._started = []
        preempted_before = self.preemptions
        chunks = self._continue_running(events)
        if self.preemptions == preempted_before:
            self._admit(chunks, events)
        load = self._measure(chunks)
        emitted: list[Emitted] = []
        for run, count in chunks.items():
            run.computed += count
            self._commit_full_blocks(run, events)
            if run.pending == 0:
                emitted.append(self._emit(run))
        return Step(self._speed.step_s(load), load, tuple(emitted), tuple(events), tuple(self._started))

    def check(self) -> None:
        """Asserts the invariants; linear in everything held."""
        self._pool.check()
        assert len(self._running) <= self.limits.max_num_seqs
        assert len(self._by_id) == len(self._running) + len(self._waiting)
        assert all(run.committed == 0 == run.private == run.computed for run in self._waiting)
        assert self._pool.snapshot().private == sum(run.private for run in self._running)
        for run in self._running:
            held = run.committed + run.private
            assert run.computed <= held * self.limits.block_size
            assert run.computed <= len(run.tokens)

    def _continue_running(self, events: list[CacheEvent]) -> dict[_Run, int]:
        """Tokens to compute per running request, within the budget; preempts where blocks run out."""
        budget = self.limits.max_num_batched_tokens
        chunks: dict[_Run, int] = {}
        for run in list(self._running):
            if not run.is_running:
                continue
            count = min(run.pending, budget)
            if count and self._reserve(run, run.computed + count, events, chunks):
                chunks[run] = count
                budget -= count
        return chunks

    def _reserve(self, run: _Run, tokens: int, events: list[CacheEvent], chunks: dict[_Run, int]) -> bool:
        """Gives `run` room for `tokens` tokens; False when it had to give way itself."""
        while not self._grow(run, tokens, events):
            victim = self._running[-1 if self.limits.preemption is Preemption.LIFO else 0]
            self._preempt(victim)
            chunks.pop(victim, None)
            if victim is run:
                return False
        return True

    def _grow(self, run: _Run, tokens: int, events: list[CacheEvent]) -> bool:
        missing = math.ceil(tokens / self.limits.block_size) - run.committed - run.private
        if missing <= 0:
            return True
        evicted = self._pool.take(missing)
        if evicted is None:
            return False
        run.private += missing
        if evicted:
            events.append(BlocksRemoved(evicted))
        return True

    def _preempt(self, run: _Run) -> None:
        """Back to the head of the queue; its tokens are kept and computed anew."""
        self.preemptions += 1
        self._running.remove(run)
        self._free(run)
        run.computed = 0
        run.is_running = False
        self._waiting.appendleft(run)

    def _admit(self, chunks: dict[_Run, int], events: list[CacheEvent]) -> None:
        budget = self.limits.max_num_batched_tokens - sum(chunks.values())
        while self._waiting and budget > 0 and len(self._running) < self.limits.max_num_seqs:
            run = self._next_waiting()
            hits = self._matched_blocks(run)
            computed = hits * self.limits.block_size
            if run.work.prompt_is_transferred and not run.emitted:
                computed = max(computed, len(run.tokens) - 1)
            count = len(run.tokens) - computed
            if count > budget:
                if not self.limits.chunked_prefill:
                    return
                count = budget
            if not self._can_start(run, hits, computed + count):
                return
            self._start(run, hits, computed)
            grown = self._grow(run, computed + count, events)
            assert grown
            chunks[run] = count
            budget -= count

    def _next_waiting(self) -> _Run:
        if not self.limits.longest_prefix_first or len(self._waiting) == 1:
            return self._waiting[0]
        return max(self._waiting, key=self._matched_blocks)

    def _matched_blocks(self, run: _Run) -> int:
        """Cached leading blocks of the run; at least one token is always computed."""
        if not self.limits.prefix_caching:
            return 0
        usable = (len(run.tokens) - 1) // self.limits.block_size
        self._extend_keys(run, usable)
        return self._pool.match(run.keys[:usable])

    def _can_start(self, run: _Run, hits: int, tokens: int) -> bool:
        wanted = math.ceil(tokens / self.limits.block_size) - hits + self._pool.matched_cached(run.keys[:hits])
        if self.limits.admission is not Admission.PROMPT:
            whole = math.ceil(self._expected_tokens(run) / self.limits.block_size)
            wanted = max(wanted, whole - hits + self._pool.matched_cached(run.keys[:hits]))
            wanted += sum(
                max(
                    0,
                    math.ceil(self._expected_tokens(other) / self.limits.block_size) - other.committed - other.private,
                )
                for other in self._running
            )
            if not self._running:
                wanted = min(wanted, self._pool.available)
        return wanted <= self._pool.available

    def _expected_tokens(self, run: _Run) -> int:
        left = run.work.max_tokens - run.emitted
        if self.limits.admission is Admission.ESTIMATE:
            left = math.ceil(self.limits.answer_share * min(left, self.limits.answer_clip_tokens))
        return len(run.tokens) + max(0, left)

    def _start(self, run: _Run, hits: int, computed: int) -> None:
        self._waiting.remove(run)
        self._running.append(run)
        self._pool.hold(run.keys[:hits])
        run.committed = hits
        run.computed = computed
        run.is_running = True
        if not run.emitted:
            run.cached_tokens = hits * self.limits.block_size
            self.prefix_queries += len(run.tokens)
            self.prefix_hits += run.cached_tokens
            self._started.append(run.work.request_id)

    def _measure(self, chunks: dict[_Run, int]) -> StepLoad:
        prefill = decoding = context = 0
        for run, count in chunks.items():
            if run.emitted and run.pending == 1:
                decoding += 1
                context += len(run.tokens)
            else:
                prefill += count
        return StepLoad(prefill, decoding, context, self.limits.capacity_tokens)

    def _commit_full_blocks(self, run: _Run, events: list[CacheEvent]) -> None:
        """Gives every newly full block its key; new ones are one Stored event."""
        size = self.limits.block_size
        full = run.computed // size
        if not self.limits.prefix_caching or full <= run.committed:
            return
        self._extend_keys(run, full)
        stored: list[int] = []
        first = run.committed
        for index in range(first, full):
            if self._pool.commit(run.keys[index], run.keys[index - 1] if index else None):
                stored.append(index)
        run.private -= full - first
        run.committed = full
        events.extend(self._stored(run, indices) for indices in _runs(stored))

    def _stored(self, run: _Run, indices: list[int]) -> BlocksStored:
        size = self.limits.block_size
        first, last = indices[0], indices[-1]
        return BlocksStored(
            keys=tuple(run.keys[first : last + 1]),
            parent=run.keys[first - 1] if first else None,
            tokens=tuple(run.tokens[first * size : (last + 1) * size]),
            lora=run.work.lora,
            salt=run.work.salt,
        )

    def _emit(self, run: _Run) -> Emitted:
        work = run.work
        if work.max_tokens == 0:
            self._finish(run)
            return Emitted(work.request_id, None, Finish.LENGTH, run.cached_tokens)
        token = work.answer.next_token()
        run.tokens.append(token)
        run.emitted += 1
        finish: Finish | None = None
        if token in work.stop_tokens and run.emitted >= work.min_tokens:
            finish = Finish.STOP
        elif run.emitted >= work.max_tokens:
            finish = Finish.LENGTH
        if finish is not None:
            self._finish(run)
        return Emitted(work.request_id, token, finish, run.cached_tokens)

    def _finish(self, run: _Run) -> None:
        self._running.remove(run)
        self._free(run)
        del self._by_id[run.work.request_id]

    def _free(self, run: _Run) -> None:
        self._pool.release(run.keys[: run.committed], run.private)
        run.committed = run.private = 0

    def _extend_keys(self, run: _Run, count: int) -> None:
        size = self.limits.block_size
        while len(run.keys) < count:
            start = len(run.keys) * size
            parent = run.keys[-1] if run.keys else run.work.cache_root
            block = run.tokens[start : start + size].tobytes()
            run.keys.append(xxhash.xxh3_64_intdigest(parent.to_bytes(8, "little") + block, ENGINE_HASH_SEED))


def cache_root(lora: str | None, salt: str | None) -> int:
    """The root under which a request's blocks are keyed; 0 for neither adapter nor salt."""
    if not lora and not salt:
        return 0
    return xxhash.xxh3_64_intdigest(f"{lora or ''}\0{salt or ''}".encode(), ENGINE_HASH_SEED)


def _runs(indices: list[int]) -> list[list[int]]:
    """Splits ascending numbers into runs without gaps."""
    runs: list[list[int]] = []
    for index in indices:
        if runs and runs[-1][-1] == index - 1:
            runs[-1].append(index)
        else:
            runs.append([index])
    return runs
