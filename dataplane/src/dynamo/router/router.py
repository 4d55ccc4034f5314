"""The router of one model: keeps what is known of its workers and answers where a request goes.

A frontend owns it, feeds it cards, KV events and load reports, asks `decide`, and reports the request's course through
`begin`, `first_token`, `tokens` and `finish`. All calls come from one event loop; nothing here waits, reads the clock
(it is passed in) or logs. Deciding books nothing, so a decision may be thrown away.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from dynamo.router.active import ActiveRequests, SlotLoad
from dynamo.router.asks import Ask, Decision
from dynamo.router.caches import Caches
from dynamo.router.choice import Choice, Sight, by_cost, by_requests
from dynamo.router.config import BusyThresholds, Mode, RouterConfig
from dynamo.router.eligible import RETRY_AFTER_S, eligible, not_busy
from dynamo.router.fleet import Fleet, Member
from dynamo.router.queue import Waiting, WaitQueue
from dynamo.router.reported import ReportedLoads
from dynamo.router.slots import Slots
from dynamo.wire.cards import WorkerCard
from dynamo.wire.errors import InvalidRequest, RequestError, Unavailable
from dynamo.wire.router_events import Hashes, Load, Tier

DECISIONS_KEPT = 256
_DEFAULT_BLOCK_SIZE = 16


class Router:
    """One per model (the set of workers serving it)."""

    def __init__(self, config: RouterConfig, *, rng: random.Random, clock: Callable[[], float]) -> None:
        """`clock` gives seconds, monotonic; `rng` breaks ties."""
        self.config = config
        self.thresholds = config.busy
        self._rng = rng
        self._clock = clock
        self._slots = Slots()
        self._fleet = Fleet(self._slots)
        self._caches = Caches(config)
        self._active = ActiveRequests(
            block_size=config.block_size or _DEFAULT_BLOCK_SIZE,
            expiry_s=config.active_expiry_s,
            counts_output_blocks=config.tracks_output_blocks,
        )
        self._reported = ReportedLoads()
        self._queue = WaitQueue(config.queue_policy)
        self._last_turn: tuple[int, int] | None = None
        self._decisions: deque[Decision] = deque(maxlen=DECISIONS_KEPT)

    @property
    def needs_tokens(self) -> bool:
        """True: ask with token count and hashes; mode kv measures load in tokens even where caches do not count."""
        return self.config.mode is Mode.KV

    @property
    def block_size(self) -> int:
        """Tokens per block to hash prompts with; follows the fleet unless the config fixes it."""
        return self.config.block_size or self._fleet.block_size() or _DEFAULT_BLOCK_SIZE

    def set_workers(self, cards: Sequence[WorkerCard]) -> None:
        """Everybody who serves the model now; state of workers that are gone is dropped."""
        for slot in self._fleet.set_workers(cards):
            self._forget(slot)
            self._slots.release(slot)
        self._active.block_size = self.block_size
        self._wake()

    def inhibit(self, worker_id: int, until_s: float) -> None:
        """Avoid the worker until `until_s` (this router's clock) while there are others."""
        self._fleet.inhibit(worker_id, until_s)

    def set_thresholds(self, thresholds: BusyThresholds) -> None:
        self.thresholds = thresholds

    def store(self, worker_id: int, dp_rank: int, hashes: Hashes, tier: Tier = Tier.DEVICE) -> None:
        self._caches.store(self._slots.take(worker_id, dp_rank), hashes.tolist(), tier)

    def remove(self, worker_id: int, dp_rank: int, hashes: Hashes, tier: Tier = Tier.DEVICE) -> None:
        slot = self._slots.get(worker_id, dp_rank)
        if slot is not None:
            self._caches.remove(slot, hashes.tolist(), tier)

    def clear(self, worker_id: int, dp_rank: int) -> None:
        slot = self._slots.get(worker_id, dp_rank)
        if slot is not None:
            self._caches.clear(slot)

    def replace(self, worker_id: int, dp_rank: int, tiers: Mapping[Tier, Hashes]) -> None:
        blocks = {tier: hashes.tolist() for tier, hashes in tiers.items()}
        self._caches.replace(self._slots.take(worker_id, dp_rank), blocks)

    def drop(self, worker_id: int) -> None:
        """Forgets what the worker has cached; one without a card is forgotten altogether."""
        for slot in self._slots.of_worker(worker_id):
            if self._fleet.card(worker_id) is not None:
                self._caches.clear(slot)
            else:
                self._forget(slot)
                self._slots.release(slot)

    def apply_load(self, load: Load) -> None:
        slot = self._slots.get(load.worker_id, load.dp_rank)
        if slot is not None:
            self._reported.apply(slot, load, self._active.load(slot), self._clock())
            self._wake()

    def decide(self, ask: Ask) -> Decision:
        """Raises Unavailable (nobody there), Overloaded (all busy) or InvalidRequest (a pin that fits nobody)."""
        try:
            return self._decide(ask, self._clock())
        except RequestError:
            self._wake()  # it may have been this request's turn
            raise

    def recent_decisions(self) -> tuple[Decision, ...]:
        """The last 256, oldest first."""
        return tuple(self._decisions)

    def begin(self, ask: Ask, decision: Decision) -> None:
        """The request goes to the decided worker: its load counts from now."""
        slot = self._slots.get(decision.worker_id, decision.dp_rank)
        if slot is None:
            return
        now_s = self._clock()
        chain = self._chain(ask)
        cached_tokens = decision.overlap_blocks * self.block_size
        blocks = (ask.token_count or 0) // self.block_size
        shares = self.config.assumes_kv_reuse and ask.hashes is not None
        tracks_blocks = self.config.tracks_active_blocks
        self._active.begin(
            ask.request_id,
            slot,
            hashes=chain if shares and tracks_blocks else (),
            own_blocks=blocks if tracks_blocks and not shares else 0,
            prefill_tokens=max(0, (ask.token_count or 0) - cached_tokens) if self.config.tracks_prefill_tokens else 0,
            now_s=now_s,
        )
        if chain:
            card = self._fleet.card(decision.worker_id)
            capacity = card.total_kv_blocks if card is not None else None
            self._caches.assume(slot, chain, decision.overlap_blocks, capacity, ask.request_id, now_s)
        self._wake()

    def first_token(self, request_id: str) -> None:
        """The worker has computed the prompt."""
        if self._active.first_token(request_id, self._clock()):
            self._wake()

    def tokens(self, request_id: str, count: int) -> None:
        """`count` more output tokens came; unknown requests are ignored here and in the other two."""
        self._active.tokens(request_id, count, self._clock())

    def finish(self, request_id: str) -> None:
        """The request ended, in whatever way."""
        if self._active.finish(request_id):
            self._wake()

    def would_wait(self, ask: Ask) -> str | None:
        """Why the request should `wait` before `decide`, or None to go on. Raises what `decide` raises for nobody."""
        if self.config.queue_threshold is None:
            return None
        members = self._eligible(ask, self._clock())
        if len(self._queue):
            return f"{len(self._queue)} requests wait already (--router-queue-threshold)"
        return self._wait_reason(members)

    def wait(self, ask: Ask, wake: Callable[[], None]) -> None:
        """`wake` is called once, when it is the request's turn: then `decide` and `begin` it, or `abandon` it."""
        overlaps = self._caches.match(self._chain(ask)).device
        cached_tokens = max(overlaps.values(), default=0) * self.block_size
        uncached_tokens = max(0, (ask.token_count or 0) - cached_tokens)
        self._queue.push(
            Waiting(ask.request_id, self._clock(), uncached_tokens, ask.priority, ask.strict_priority), wake
        )

    def abandon(self, request_id: str) -> None:
        """A waiting, or just woken, request will not begin."""
        self._queue.abandon(request_id)
        self._wake()

    @property
    def waiting(self) -> int:
        return len(self._queue)

    def snapshot(self) -> dict[str, object]:
        """What the router knows, as plain values for /debug."""
        now_s = self._clock()
        inhibited = self._fleet.inhibited(now_s)
        return {
            "mode": self.config.mode.value,
            "block_size": self.block_size,
            "active_requests": len(self._active),
            "waiting_requests": len(self._queue),
            "workers": [self._describe(member, member.worker_id in inhibited) for member in self._fleet.members],
        }

    def check(self) -> None:
        """Asserts the invariants of everything kept."""
        self._slots.check()
        self._caches.check()
        self._active.check()

    def _decide(self, ask: Ask, now_s: float) -> Decision:
        self._expire(now_s)
        members = not_busy(ask.model, self._eligible(ask, now_s), self.thresholds, self._load)
        if self.config.mode is Mode.DIRECT and ask.pinned_worker_id is None:
            raise InvalidRequest("router mode direct: the request names no worker; set x-dynamo-worker-instance-id")
        sight = Sight(self._caches, self._active, self._load, self._chain(ask), self.block_size)
        choice = self._choose(ask, members, sight)
        decision = _decision(ask, choice, sight, self.config.mode, now_s)
        self._decisions.append(decision)
        return decision

    def _eligible(self, ask: Ask, now_s: float) -> Sequence[Member]:
        least = self.config.min_initial_workers
        if self._fleet.most_seen < least:
            raise Unavailable(
                f"model {ask.model}: {self._fleet.worker_count} workers are there, "
                f"--router-min-initial-workers is {least}",
                retry_after_s=RETRY_AFTER_S,
            )
        return eligible(ask, self._fleet.members, self._fleet.inhibited(now_s))

    def _choose(self, ask: Ask, members: Sequence[Member], sight: Sight) -> Choice:
        mode = self.config.mode
        if mode is Mode.KV and ask.token_count is not None and len(members) > 1:
            return by_cost(members, sight, ask.token_count, self.config, self._rng)
        choice = by_requests(mode, members, self._load, self._last_turn, self._rng)
        if mode is Mode.ROUND_ROBIN:
            self._last_turn = (choice.member.worker_id, choice.member.dp_rank)
        return choice

    def _chain(self, ask: Ask) -> list[int]:
        if ask.hashes is None or self.config.mode is not Mode.KV:
            return []
        chain: list[int] = np.asarray(ask.hashes).tolist()
        return chain

    def _load(self, slot: int) -> SlotLoad:
        """Own load plus what reports show of others'."""
        own = self._active.load(slot)
        if not len(self._reported):
            return own
        foreign = self._reported.foreign(slot, self._clock())
        if foreign is None:
            return own
        return SlotLoad(
            own.requests + foreign.requests,
            own.prefill_tokens + foreign.prefill_tokens,
            own.decode_blocks + foreign.decode_blocks,
        )

    def _wait_reason(self, members: Sequence[Member]) -> str | None:
        steps = self.config.queue_threshold
        assert steps is not None
        for member in members:
            if self._load(member.slot).prefill_tokens <= steps * member.step_tokens:
                return None
        return f"every rank has more than {steps:g} steps of prompt tokens to compute (--router-queue-threshold)"

    def _wake(self) -> None:
        """One at a time: the woken request's `begin` (or `abandon`) wakes the next if there is still room.

        With no worker left everybody is woken in turn, to be told so.
        """
        members = self._fleet.members
        if not len(self._queue) or (members and self._wait_reason(members) is not None):
            return
        turn = self._queue.pop()
        if turn is not None:
            turn[1]()

    def _expire(self, now_s: float) -> None:
        self._active.expire(now_s)
        self._caches.expire(now_s, self._active.is_prefilling)

    def _forget(self, slot: int) -> None:
        self._caches.clear(slot)
        self._active.drop(slot)
        self._reported.drop(slot)

    def _describe(self, member: Member, is_inhibited: bool) -> dict[str, object]:
        load = self._load(member.slot)
        return {
            "worker_id": member.card.hex_id,
            "name": member.card.name,
            "dp_rank": member.dp_rank,
            "address": member.card.address,
            "requests": load.requests,
            "prefill_tokens": load.prefill_tokens,
            "decode_blocks": load.decode_blocks,
            "held_blocks": self._caches.held(member.slot),
            "proven_blocks": self._caches.proven(member.slot),
            "total_kv_blocks": member.card.total_kv_blocks,
            "is_inhibited": is_inhibited,
        }


def _decision(ask: Ask, choice: Choice, sight: Sight, mode: Mode, now_s: float) -> Decision:
    card = choice.member.card
    return Decision(
        request_id=ask.request_id,
        worker_id=card.worker_id,
        dp_rank=choice.member.dp_rank,
        address=card.address,
        worker_name=card.name,
        mode=mode,
        reason=choice.reason,
        overlap_blocks=sight.overlaps.device.get(choice.member.slot, 0),
        total_blocks=len(sight.chain),
        scores=choice.scores,
        decided_s=now_s,
        best_overlap_blocks=choice.best_overlap,
    )
