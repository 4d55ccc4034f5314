"""A fleet on virtual time around a real `Router`: LRU caches, prefill and decode timing, a closed loop of clients.

Engines behave like vLLM in what matters to a router: full blocks are reused while cached, at least one token is always
computed, running requests pin their blocks, least recently used blocks go first (a prompt's end before its start),
what was stored and evicted is told after the step, `event_lag_s` later.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from dynamo.router import Ask, Router, RouterConfig
from dynamo.wire.cards import WorkerCard

BLOCK_SIZE = 16
STEP_TOKENS = 8192


@dataclass(frozen=True, slots=True)
class Prompt:
    """`chain`: sequence hashes of its full blocks."""

    chain: tuple[int, ...]
    output_tokens: int

    @property
    def tokens(self) -> int:
        return len(self.chain) * BLOCK_SIZE


@dataclass(slots=True)
class Job:
    request_id: str
    prompt: Prompt
    left_to_prefill: int = 0
    left_to_decode: int = 0
    cached_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Result:
    hit_ratio: float
    served: tuple[int, ...]
    """Requests by worker."""
    duration_s: float


@dataclass(slots=True)
class Engine:
    """One simulated worker."""

    capacity: int
    cached: dict[int, int] = field(default_factory=dict)
    """Users by block; least recently used first among those without users."""
    waiting: deque[Job] = field(default_factory=deque)
    running: list[Job] = field(default_factory=list)
    stored: list[int] = field(default_factory=list)
    evicted: list[int] = field(default_factory=list)
    served: int = 0

    def step(self) -> tuple[float, list[Job], list[Job]]:
        """Runs one step: its duration in seconds, jobs with their first token, jobs done."""
        decoding = [job for job in self.running if not job.left_to_prefill]
        prefilled, first = self._prefill()
        for job in decoding:
            job.left_to_decode -= 1
        done = [job for job in self.running if not job.left_to_prefill and not job.left_to_decode]
        self.running = [job for job in self.running if job not in done]
        for job in done:
            self._release(job)
        context = sum(job.prompt.tokens for job in decoding)
        return _step_s(prefilled, context, self.capacity * BLOCK_SIZE), first, done

    def _prefill(self) -> tuple[int, list[Job]]:
        budget, first = STEP_TOKENS, []
        candidates = [job for job in self.running if job.left_to_prefill]
        while budget and (candidates or (self.waiting and self._admit())):
            job = candidates.pop(0) if candidates else self.running[-1]
            tokens = min(budget, job.left_to_prefill)
            job.left_to_prefill -= tokens
            budget -= tokens
            if not job.left_to_prefill:
                job.left_to_decode -= 1
                first.append(job)
        return STEP_TOKENS - budget, first

    def _admit(self) -> bool:
        job = self.waiting[0]
        chain = job.prompt.chain
        hit = next((i for i, block in enumerate(chain) if block not in self.cached), len(chain))
        new = [block for block in chain[hit:] if block not in self.cached]
        pinned = set(chain)
        evictable = [b for b, users in self.cached.items() if not users and b not in pinned]
        excess = len(self.cached) + len(new) - self.capacity
        if excess > len(evictable):
            return False
        for block in evictable[: max(0, excess)]:
            del self.cached[block]
            self.evicted.append(block)
        for block in chain:
            self.cached[block] = self.cached.get(block, 0) + 1
        self.stored.extend(new)
        job.cached_tokens = min(hit * BLOCK_SIZE, job.prompt.tokens - 1)
        job.left_to_prefill = job.prompt.tokens - job.cached_tokens
        job.left_to_decode = job.prompt.output_tokens
        self.running.append(self.waiting.popleft())
        return True

    def _release(self, job: Job) -> None:
        for block in reversed(job.prompt.chain):
            users = self.cached.pop(block) - 1
            self.cached[block] = users


def _step_s(prefill_tokens: int, context_tokens: int, capacity_tokens: int) -> float:
    prefill_ms = 4.209989e-07 * prefill_tokens**2 + 1.518344e-02 * prefill_tokens + 16.50142 if prefill_tokens else 0.0
    share = min(1.0, context_tokens / capacity_tokens)
    decode_ms = max(1.0, -25.74 * share**2 + 54.01 * share + 5.74) if context_tokens else 0.0
    return (prefill_ms + decode_ms) / 1000


def simulate(
    config: RouterConfig,
    prompts: Sequence[Prompt],
    *,
    seed: int,
    workers: int = 4,
    blocks_per_worker: int = 2600,
    concurrency: int = 16,
    event_lag_s: float = 0.02,
) -> Result:
    return _Run(config, prompts, seed, workers, blocks_per_worker, concurrency, event_lag_s).result()


class _Run:
    def __init__(
        self,
        config: RouterConfig,
        prompts: Sequence[Prompt],
        seed: int,
        workers: int,
        blocks_per_worker: int,
        concurrency: int,
        event_lag_s: float,
    ) -> None:
        self.now_s = 0.0
        self.router = Router(config, rng=random.Random(seed), clock=lambda: self.now_s)
        self.engines = [Engine(blocks_per_worker) for _ in range(workers)]
        self.router.set_workers([a_card(number, blocks_per_worker) for number in range(workers)])
        self._todo = iter(enumerate(prompts))
        self._agenda: list[tuple[float, int, Callable[[], None]]] = []
        self._ticket = itertools.count()
        self._busy = [False] * workers
        self._lag_s = event_lag_s
        self._cached_tokens = self._prompt_tokens = 0
        for _ in range(concurrency):
            self._send()

    def result(self) -> Result:
        while self._agenda:
            self.now_s, _, act = heapq.heappop(self._agenda)
            act()
        self.router.check()
        ratio = self._cached_tokens / self._prompt_tokens
        return Result(ratio, tuple(engine.served for engine in self.engines), self.now_s)

    def _at(self, when_s: float, act: Callable[[], None]) -> None:
        heapq.heappush(self._agenda, (when_s, next(self._ticket), act))

    def _send(self) -> None:
        number, prompt = next(self._todo, (None, None))
        if number is None or prompt is None:
            return
        ask = an_ask(f"r{number}", prompt)
        decision = self.router.decide(ask)
        self.router.begin(ask, decision)
        worker = decision.worker_id - 1
        self.engines[worker].waiting.append(Job(ask.request_id, prompt))
        self.engines[worker].served += 1
        if not self._busy[worker]:
            self._busy[worker] = True
            self._at(self.now_s, lambda: self._step(worker))

    def _step(self, worker: int) -> None:
        engine = self.engines[worker]
        if not engine.waiting and not engine.running:
            self._busy[worker] = False
            return
        duration_s, first, done = engine.step()
        self._at(self.now_s + duration_s, lambda: self._end_step(worker, first, done))

    def _end_step(self, worker: int, first: list[Job], done: list[Job]) -> None:
        engine = self.engines[worker]
        stored, engine.stored = engine.stored, []
        evicted, engine.evicted = engine.evicted, []
        if stored or evicted:
            self._at(self.now_s + self._lag_s, lambda: self._tell(worker + 1, stored, evicted))
        for job in first:
            self.router.first_token(job.request_id)
        for job in done:
            self._cached_tokens += job.cached_tokens
            self._prompt_tokens += job.prompt.tokens
            self.router.finish(job.request_id)
            self._send()
        self._step(worker)

    def _tell(self, worker_id: int, stored: list[int], evicted: list[int]) -> None:
        self.router.remove(worker_id, 0, np.array(evicted, dtype=np.uint64))
        self.router.store(worker_id, 0, np.array(stored, dtype=np.uint64))


def a_card(number: int, blocks: int, **changes: object) -> WorkerCard:
    fields: dict[str, object] = {
        "worker_id": number + 1,
        "name": f"w{number + 1}",
        "namespace": "test",
        "component": "worker",
        "engine": "mocker",
        "model": "m",
        "address": f"http://127.0.0.1:{8000 + number}",
        "system_address": f"http://127.0.0.1:{9000 + number}",
        "block_size": BLOCK_SIZE,
        "total_kv_blocks": blocks,
        "max_num_seqs": 256,
        "max_num_batched_tokens": STEP_TOKENS,
    }
    return WorkerCard(**{**fields, **changes})  # type: ignore[arg-type]


def an_ask(request_id: str, prompt: Prompt, **changes: object) -> Ask:
    fields: dict[str, object] = {
        "request_id": request_id,
        "model": "m",
        "token_count": prompt.tokens,
        "hashes": np.array(prompt.chain, dtype=np.uint64),
    }
    return Ask(**{**fields, **changes})  # type: ignore[arg-type]


def grouped_prompts(
    order: str,
    seed: int,
    *,
    groups: int = 24,
    requests: int = 960,
    shared: int = 256,
    unique: int = 4,
    output: int = 16,
) -> list[Prompt]:
    """Shared prefixes of `shared` blocks with `unique` blocks each; `order`: random, round-robin or grouped."""
    rng = random.Random(seed)
    prefixes = [tuple(rng.getrandbits(64) for _ in range(shared)) for _ in range(groups)]
    numbers = [index % groups for index in range(requests)]
    if order == "random":
        rng.shuffle(numbers)
    elif order == "grouped":
        numbers.sort()
    return [Prompt((*prefixes[number], *(rng.getrandbits(64) for _ in range(unique))), output) for number in numbers]
