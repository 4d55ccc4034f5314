"""Continuous batching on one rank: which requests run, what each step computes, what it emits.

Pure: time is an argument, tokens come from each request's `Answer`, KV events are values. The live engine drives it on
the wall clock, simulations on virtual time. A step's effects are booked when it starts and become visible after its
duration. It never blocks, logs or touches sockets.
"""

from __future__ import annotations

from array import array
from collections import deque

from dynamo.mocker.allocation import Allocator
from dynamo.mocker.sequence import Run
from dynamo.mocker.timing import Speed, StepLoad
from dynamo.mocker.work import CacheEvent, Emitted, Finish, Limits, Preemption, RankLoad, Step, Work


class Scheduler:
    """One rank's queue, batch and cache."""

    def __init__(self, limits: Limits, speed: Speed) -> None:
        self.limits = limits
        self.preemptions = 0
        self.prefix_queries = 0
        """Prompt tokens looked up in the cache since the start."""
        self.prefix_hits = 0
        self._speed = speed
        self._blocks = Allocator(limits)
        self._waiting: deque[Run] = deque()
        self._running: list[Run] = []
        self._by_id: dict[str, Run] = {}
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
        run = Run(work, array("I", work.prompt))
        self._by_id[work.request_id] = run
        self._waiting.append(run)

    def abort(self, request_id: str) -> bool:
        """Forgets the request and frees its blocks at once; False if it is not here."""
        run = self._by_id.pop(request_id, None)
        if run is None:
            return False
        if run.is_running:
            self._running.remove(run)
            self._blocks.free(run)
        else:
            self._waiting.remove(run)
        return True

    def clear_cache(self) -> tuple[CacheEvent, ...]:
        """Forgets cached blocks; does nothing while a request runs."""
        return self._blocks.clear()

    def load(self) -> RankLoad:
        pool = self._blocks.snapshot()
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
        self._started = []
        preempted_before = self.preemptions
        chunks = self._continue_running()
        # Only now: a block of a request that gives way in this step is not computed, so nobody may share it.
        for run, count in chunks.items():
            self._blocks.commit(run, run.computed + count)
        if self.preemptions == preempted_before:
            self._admit(chunks)
        load = self._measure(chunks)
        emitted: list[Emitted] = []
        for run, count in chunks.items():
            run.computed += count
            if run.pending == 0:
                emitted.append(self._emit(run))
        events = self._blocks.take_events()
        return Step(self._speed.step_s(load), load, tuple(emitted), events, tuple(self._started))

    def check(self) -> None:
        """Asserts the invariants; linear in everything held."""
        self._blocks.check(self._running)
        assert len(self._running) <= self.limits.max_num_seqs
        assert len(self._by_id) == len(self._running) + len(self._waiting)
        assert all(run.is_running and run.computed <= len(run.tokens) for run in self._running)
        assert all(run.committed == 0 == run.private == run.computed for run in self._waiting)
        assert not any(run.is_running for run in self._waiting)

    def _continue_running(self) -> dict[Run, int]:
        """Tokens to compute per running request, within the budget; preempts where blocks run out."""
        budget = self.limits.max_num_batched_tokens
        chunks: dict[Run, int] = {}
        for run in list(self._running):
            if not run.is_running:
                continue
            count = min(run.pending, budget)
            if count and self._reserve(run, run.computed + count, chunks):
                chunks[run] = count
                budget -= count
        return chunks

    def _reserve(self, run: Run, tokens: int, chunks: dict[Run, int]) -> bool:
        """Gives `run` room for `tokens` tokens; False when it had to give way itself."""
        while not self._blocks.grow(run, tokens):
            victim = self._running[-1 if self.limits.preemption is Preemption.LIFO else 0]
            self._preempt(victim)
            chunks.pop(victim, None)
            if victim is run:
                return False
        return True

    def _preempt(self, run: Run) -> None:
        """Back to the head of the queue; its tokens are kept and computed anew."""
        self.preemptions += 1
        self._running.remove(run)
        self._blocks.free(run)
        run.computed = 0
        run.is_running = False
        self._waiting.appendleft(run)

    def _admit(self, chunks: dict[Run, int]) -> None:
        budget = self.limits.max_num_batched_tokens - sum(chunks.values())
        while self._waiting and budget > 0 and len(self._running) < self.limits.max_num_seqs:
            run = self._next_waiting()
            hits = self._blocks.matched_blocks(run)
            computed = hits * self.limits.block_size
            if run.work.prompt_is_transferred and not run.emitted:
                computed = max(computed, len(run.tokens) - 1)
            count = len(run.tokens) - computed
            if count > budget:
                if not self.limits.chunked_prefill:
                    return
                count = budget
            if not self._blocks.can_start(run, hits, computed + count, self._running):
                return
            self._start(run, hits, computed)
            grown = self._blocks.grow(run, computed + count)
            assert grown
            self._blocks.commit(run, computed + count)
            chunks[run] = count
            budget -= count

    def _next_waiting(self) -> Run:
        if not self.limits.longest_prefix_first or len(self._waiting) == 1:
            return self._waiting[0]
        return max(self._waiting, key=self._blocks.matched_blocks)

    def _start(self, run: Run, hits: int, computed: int) -> None:
        self._waiting.remove(run)
        self._running.append(run)
        self._blocks.share(run, hits)
        run.computed = computed
        run.is_running = True
        if not run.has_started:
            run.has_started = True
            run.cached_tokens = hits * self.limits.block_size
            self.prefix_queries += len(run.tokens)
            self.prefix_hits += run.cached_tokens
            self._started.append(run.work.request_id)

    def _measure(self, chunks: dict[Run, int]) -> StepLoad:
        prefill = decoding = context = 0
        for run, count in chunks.items():
            if run.emitted and run.pending == 1:
                decoding += 1
                context += len(run.tokens)
            else:
                prefill += count
        return StepLoad(prefill, decoding, context, self.limits.capacity_tokens)

    def _emit(self, run: Run) -> Emitted:
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

    def _finish(self, run: Run) -> None:
        self._running.remove(run)
        self._blocks.free(run)
        del self._by_id[run.work.request_id]
