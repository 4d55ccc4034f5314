"""A small queueing model of a fleet on virtual time, to see what a planner's decisions do to users.

Each worker prefills one request at a time and decodes all its streams together, at a latency that grows with their
number. A request waits in one queue for a worker that can take it. Workers that leave finish their streams first. The
planner sees what frontends and workers would export at each tick.
"""

from __future__ import annotations

import heapq
import itertools
import math
import random
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from dynamo.planner.decide import decide
from dynamo.planner.observation import Bounds, Decision, Fleet, Observation, Pace, Policy, State, Targets, Traffic
from dynamo.wire.cards import Role

STEP_S = 0.05


@dataclass(frozen=True, slots=True)
class Request:
    at_s: float
    isl: int
    osl: int


@dataclass(frozen=True, slots=True)
class Speed:
    """One worker: prefill seconds and inter-token latency."""

    prefill_base_s: float = 0.02
    prefill_token_s: float = 0.0001
    itl_base_s: float = 0.01
    itl_stream_s: float = 0.001
    streams_max: int = 64
    kv_tokens: int = 200_000
    startup_s: float = 30.0
    cold_s: float = 0.0
    """What a worker's first prefill takes longer than others."""
    tells_limit: bool = False
    """Frontends export `streams_max`."""


MOCKER = Speed(0.0165, 0.000015, 0.0058, 0.00005, streams_max=4, startup_s=5.0, tells_limit=True)
"""A worker of the planner's example."""


@dataclass(frozen=True, slots=True)
class Streams:
    """Clients of which each has one request at any time; a load like this never outruns the fleet."""

    levels: Sequence[tuple[float, int]]
    """(seconds, clients) one after the other."""
    isl: int = 50
    osl: int = 150

    def wanted(self, now_s: float) -> int:
        for lasts_s, clients in self.levels:
            if now_s < lasts_s:
                return clients
            now_s -= lasts_s
        return 0


@dataclass(slots=True)
class Worker:
    ready_at_s: float
    clock: float = 0.0
    """Tokens that a stream here would have got since the start."""
    ends: list[tuple[float, float, int]] = field(default_factory=list)
    """(clock at the end, clock at the start, tokens held) per stream."""
    busy_until_s: float = 0.0
    is_leaving: bool = False
    is_cold: bool = True


@dataclass(slots=True)
class Outcome:
    ttft_s: list[float] = field(default_factory=list)
    itl_s: list[float] = field(default_factory=list)
    offered: int = 0
    gpu_s: float = 0.0
    changes: list[tuple[float, int, int]] = field(default_factory=list)
    """(time, before, after)."""
    decisions: list[tuple[float, Decision]] = field(default_factory=list)

    def attainment(self, ttft_s: float) -> float:
        return sum(one <= ttft_s for one in self.ttft_s) / max(1, self.offered)

    @property
    def flips(self) -> int:
        """Changes of direction."""
        ways = [after > before for _, before, after in self.changes]
        return sum(one != other for one, other in itertools.pairwise(ways))

    def trajectory(self, initial: int) -> str:
        """As `1 15s:2 60s:1`."""
        return " ".join([str(initial), *(f"{at_s:.0f}s:{after}" for at_s, _, after in self.changes)])

    def most(self, from_s: float, until_s: float, initial: int) -> int:
        """Most replicas asked for between the two."""
        within = [after for at_s, _, after in self.changes if from_s < at_s <= until_s]
        return max([self.replicas_at(from_s, initial), *within])

    def replicas_at(self, now_s: float, initial: int) -> int:
        return next((after for at_s, _, after in reversed(self.changes) if at_s <= now_s), initial)


@dataclass(slots=True)
class _Counted:
    arrivals: int = 0
    isl: list[int] = field(default_factory=list)
    osl: list[int] = field(default_factory=list)
    ttft: list[float] = field(default_factory=list)
    prefill: list[float] = field(default_factory=list)
    itl: list[tuple[float, float]] = field(default_factory=list)


def a_policy(
    *, ttft_s: float | None = 1.0, itl_s: float | None = 0.05, floor: int = 1, gpus: int | None = None, **pace: float
) -> Policy:
    return Policy(Targets(ttft_s, itl_s), Bounds({Role.AGGREGATED: floor}, gpus, max_step=8), Pace(**pace))


def poisson(rates: Sequence[tuple[float, float]], *, isl: int = 1000, osl: int = 100, seed: int = 0) -> list[Request]:
    """Arrivals at (seconds, requests per second) one after the other; lengths vary by half."""
    rng, now_s, found, began_s = random.Random(seed), 0.0, [], 0.0
    for lasts_s, rate in rates:
        now_s = began_s
        while rate > 0 and (now_s := now_s + rng.expovariate(rate)) < began_s + lasts_s:
            found.append(Request(now_s, int(isl * rng.uniform(0.5, 1.5)), max(2, int(osl * rng.uniform(0.5, 1.5)))))
        began_s += lasts_s
    return found


def regular(rates: Sequence[tuple[float, float]], *, isl: int = 1000, osl: int = 100) -> list[Request]:
    """Equal requests at equal distances."""
    found, began_s = [], 0.0
    for lasts_s, rate in rates:
        found += [Request(began_s + (one + 0.5) / rate, isl, osl) for one in range(int(lasts_s * rate))]
        began_s += lasts_s
    return found


def simulate(
    load: Iterable[Request] | Streams,
    policy: Policy,
    speed: Speed,
    *,
    until_s: float,
    workers: int = 1,
    is_static: bool = False,
) -> Outcome:
    run = _Run(policy, speed, workers)
    streams = load if isinstance(load, Streams) else None
    coming = deque([] if isinstance(load, Streams) else sorted(load, key=lambda request: request.at_s))
    tick_s, next_tick_s, now_s = policy.pace.tick_s, policy.pace.tick_s, 0.0
    while now_s < until_s:
        now_s += STEP_S
        while coming and coming[0].at_s <= now_s:
            run.arrive(coming.popleft())
        for _ in range(streams.wanted(now_s) - run.present if streams is not None else 0):
            run.arrive(Request(now_s, streams.isl, streams.osl))
        run.step(now_s)
        if now_s >= next_tick_s:
            next_tick_s += tick_s
            run.tick(now_s, is_static)
    return run.outcome


class _Run:
    def __init__(self, policy: Policy, speed: Speed, workers: int) -> None:
        self.policy, self.speed = policy, speed
        self.workers = [Worker(0.0) for _ in range(workers)]
        self.queue: deque[Request] = deque()
        self.prefilling: list[tuple[float, int, Request, Worker, float]] = []
        self.counted, self.outcome, self.state = _Counted(), Outcome(), State()

    @property
    def present(self) -> int:
        """Requests that are somewhere."""
        return len(self.queue) + len(self.prefilling) + sum(len(one.ends) for one in self.workers)

    def arrive(self, request: Request) -> None:
        self.queue.append(request)
        self.counted.arrivals += 1
        self.outcome.offered += 1

    def step(self, now_s: float) -> None:
        for worker in self.workers:
            streams = len(worker.ends)
            if streams:
                itl_s = self.speed.itl_base_s + self.speed.itl_stream_s * streams
                worker.clock += STEP_S / itl_s
                self.counted.itl.append((itl_s, streams * STEP_S / itl_s))
            while worker.ends and worker.ends[0][0] <= worker.clock:
                ended, began, _ = heapq.heappop(worker.ends)
                self.counted.osl.append(round(ended - began))
        while self.prefilling and self.prefilling[0][0] <= now_s:
            done_s, _, request, worker, began_s = heapq.heappop(self.prefilling)
            heapq.heappush(worker.ends, (worker.clock + request.osl, worker.clock, request.isl + request.osl))
            self._first_token(request, done_s, began_s)
        self._assign(now_s)
        self.workers = [one for one in self.workers if not (one.is_leaving and self._is_empty(one, now_s))]
        self.outcome.gpu_s += len(self.workers) * STEP_S

    def _is_empty(self, worker: Worker, now_s: float) -> bool:
        return not worker.ends and worker.busy_until_s <= now_s

    def _first_token(self, request: Request, done_s: float, began_s: float) -> None:
        self.counted.isl.append(request.isl)
        self.counted.ttft.append(done_s - request.at_s)
        self.counted.prefill.append(done_s - began_s)
        self.outcome.ttft_s.append(done_s - request.at_s)

    def _assign(self, now_s: float) -> None:
        while self.queue:
            free = [
                one
                for one in self.workers
                if not one.is_leaving
                and one.ready_at_s <= now_s
                and one.busy_until_s <= now_s
                and len(one.ends) < self.speed.streams_max
                and sum(tokens for *_, tokens in one.ends) < self.speed.kv_tokens
            ]
            if not free:
                return
            worker, request = min(free, key=lambda one: len(one.ends)), self.queue.popleft()
            prefill_s = self.speed.prefill_base_s + self.speed.prefill_token_s * request.isl
            worker.busy_until_s = now_s + prefill_s + self.speed.cold_s * worker.is_cold
            worker.is_cold = False
            heapq.heappush(self.prefilling, (worker.busy_until_s, id(request), request, worker, now_s))

    def tick(self, now_s: float, is_static: bool) -> None:
        staying = [one for one in self.workers if not one.is_leaving]
        decision = decide(self._seen(now_s, staying), self.policy, self.state)
        self.state = decision.state
        self.outcome.decisions.append((now_s, decision))
        self.counted = _Counted()
        wanted = decision.replicas[Role.AGGREGATED]
        if is_static or wanted == len(staying):
            return
        self.outcome.changes.append((now_s, len(staying), wanted))
        for _ in range(wanted - len(staying)):
            self.workers.append(Worker(now_s + self.speed.startup_s))
        staying.sort(key=lambda one: (one.ready_at_s <= now_s, len(one.ends)))
        for worker in staying[: max(0, len(staying) - wanted)]:
            worker.is_leaving = True

    def _seen(self, now_s: float, staying: list[Worker]) -> Observation:
        counted = self.counted
        running = sum(len(one.ends) for one in self.workers) + len(self.prefilling)
        ready = [one for one in staying if one.ready_at_s <= now_s]
        itl_weight = sum(weight for _, weight in counted.itl)
        itl_s = sum(itl * weight for itl, weight in counted.itl) / itl_weight if itl_weight else None
        if itl_s is not None:
            self.outcome.itl_s.append(itl_s)
        mean = _mean(counted.isl)
        spread = _mean([(isl - mean) ** 2 for isl in counted.isl]) if mean else None
        queued = len(self.queue) + len(self.prefilling)
        traffic = Traffic(
            interval_s=self.policy.pace.tick_s,
            arrivals=counted.arrivals,
            completions=len(counted.osl),
            first_tokens=len(counted.ttft),
            isl_tokens=mean,
            isl_cv2=spread / mean**2 if mean and spread is not None else None,
            osl_tokens=_mean(counted.osl),
            ttft_s=_mean(counted.ttft),
            itl_s=itl_s,
            in_flight=running + len(self.queue),
            queued=queued,
        )
        on_each = [len(one.ends) for one in self.workers]
        held = sum(tokens for one in ready for *_, tokens in one.ends)
        fleet = Fleet(
            desired=len(staying),
            ready=len(ready),
            present=len(self.workers),
            running=running,
            waiting=len(self.queue),
            max_num_seqs=self.speed.streams_max if self.speed.tells_limit else None,
            crowd=sum(one * one for one in on_each) / sum(on_each) if any(on_each) else None,
            kv_share=held / self.speed.kv_tokens / len(ready) if ready else None,
            prefill_s=_mean(counted.prefill),
        )
        return Observation(now_s, traffic, {Role.AGGREGATED: fleet})


def _mean(values: Sequence[float]) -> float | None:
    return math.fsum(values) / len(values) if values else None
