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

from dynamo.router.active import ActiveRequests
from dynamo.router.asks import Ask, Decision
from dynamo.router.caches import Caches
from dynamo.router.choice import Choice, by_cost, by_requests
from dynamo.router.config import BusyThresholds, Mode, RouterConfig
from dynamo.router.copies import Reuses
from dynamo.router.eligible import RETRY_AFTER_S, eligible, not_busy
from dynamo.router.fleet import Fleet, Roster
from dynamo.router.loads import NO_LOADS, Loads
from dynamo.router.queue import Waiting
from dynamo.router.reported import ReportedLoads
from dynamo.router.sight import Sight
from dynamo.router.slots import Slots
from dynamo.router.snapshot import describe
from dynamo.router.turns import Turns
from dynamo.wire.cards import WorkerCard
from dynamo.wire.errors import InvalidRequest, RequestError, Unavailable
from dynamo.wire.router_events import Hashes, Load, Tier

DECISIONS_KEPT = 256
_LOAD_BLIND = frozenset({Mode.ROUND_ROBIN, Mode.RANDOM})
"""Modes that do not look at load: without thresholds it need not be gathered."""
_DEFAULT_BLOCK_SIZE = 16


class Router:
    """One per model (the set of workers serving it)."""

    def __init__(self, config: RouterConfig, *, rng: random.Random, clock: Callable[[], float]) -> None:
        """`clock` gives seconds, monotonic; `rng` breaks ties."""
        self.config = config
        self.set_thresholds(config.busy)
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
        self._reuses = Reuses()
        self._turns = Turns(config.queue_threshold, config.queue_policy)
        self._last_turn: tuple[int, int] | None = None
        self._decisions: deque[Decision] = deque(maxlen=DECISIONS_KEPT)

    @property
    def needs_tokens(self) -> bool:
        """True: ask with token count and hashes; mode kv measures load in tokens even where caches do not count."""
        return self.config.mode is Mode.KV

    @property
    def block_size(self) -> int:
        """Tokens per block to hash prompts with; follows the fleet unless the config fixes it."""
        return self.config.block_size or self._fleet.block_size or _DEFAULT_BLOCK_SIZE

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
        self._is_load_blind = self.config.mode in _LOAD_BLIND and thresholds == BusyThresholds()

    def store(self, worker_id: int, dp_rank: int, hashes: Hashes, tier: Tier = Tier.DEVICE) -> None:
        slot = self._take_slot(worker_id, dp_rank)
        if slot is not None:
            self._caches.store(slot, hashes.tolist(), tier)

    def remove(self, worker_id: int, dp_rank: int, hashes: Hashes, tier: Tier = Tier.DEVICE) -> None:
        slot = self._slots.get(worker_id, dp_rank)
        if slot is not None:
            self._caches.remove(slot, hashes.tolist(), tier)

    def clear(self, worker_id: int, dp_rank: int) -> None:
        slot = self._slots.get(worker_id, dp_rank)
        if slot is not None:
            self._caches.clear(slot)

    def replace(self, worker_id: int, dp_rank: int, tiers: Mapping[Tier, Hashes]) -> None:
        slot = self._take_slot(worker_id, dp_rank)
        if slot is not None:
            self._caches.replace(slot, {tier: hashes.tolist() for tier, hashes in tiers.items()})

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
        if slot is not None:
            self._begin(ask, decision, slot)
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
        roster = self._eligible(ask, self._clock())
        return self._turns.must_wait(roster, self._loads(roster))

    def wait(self, ask: Ask, wake: Callable[[], None]) -> None:
        """`wake` is called once, when it is the request's turn: then `decide` and `begin` it, or `abandon` it."""
        overlaps = self._caches.match(self._chain(ask)).device
        cached_tokens = max(overlaps.values(), default=0) * self.block_size
        uncached_tokens = max(0, (ask.token_count or 0) - cached_tokens)
        self._turns.push(
            Waiting(ask.request_id, self._clock(), uncached_tokens, ask.priority, ask.strict_priority), wake
        )

    def abandon(self, request_id: str) -> None:
        """A waiting, or just woken, request will not begin."""
        self._turns.abandon(request_id)
        self._wake()

    @property
    def waiting(self) -> int:
        return len(self._turns)

    def snapshot(self) -> dict[str, object]:
        """What the router knows, as plain values for /debug."""
        roster = self._fleet.roster
        inhibited = self._fleet.inhibited(self._clock())
        return {
            "mode": self.config.mode.value,
            "block_size": self.block_size,
            "active_requests": len(self._active),
            "waiting_requests": len(self._turns),
            "workers": describe(roster, self._loads(roster), self._caches, inhibited),
        }

    def check(self) -> None:
        """Asserts the invariants of everything kept."""
        self._slots.check()
        self._caches.check()
        self._active.check()

    def _decide(self, ask: Ask, now_s: float) -> Decision:
        self._active.expire(now_s)
        self._caches.expire(now_s, self._active.is_prefilling)
        roster = self._eligible(ask, now_s)
        loads = NO_LOADS if self._is_load_blind else self._loads(roster)
        free = not_busy(ask.model, roster, self.thresholds, loads)
        if free is not None:
            roster, loads = roster.where(free), loads.where(free)
        if self.config.mode is Mode.DIRECT and ask.pinned_worker_id is None:
            raise InvalidRequest("router mode direct: the request names no worker; set x-dynamo-worker-instance-id")
        sight = Sight(self._caches, self._active, self._reuses, self._chain(ask), self.block_size)
        decision = self._decision(ask, self._choose(ask, roster, loads, sight), sight, now_s)
        self._decisions.append(decision)
        return decision

    def _eligible(self, ask: Ask, now_s: float) -> Roster:
        least = self.config.min_initial_workers
        if self._fleet.most_seen < least:
            raise Unavailable(
                f"model {ask.model}: {self._fleet.worker_count} workers are there, "
                f"--router-min-initial-workers is {least}",
                retry_after_s=RETRY_AFTER_S,
            )
        return eligible(ask, self._fleet.roster, self._fleet.inhibited(now_s))

    def _choose(self, ask: Ask, roster: Roster, loads: Loads, sight: Sight) -> Choice:
        mode = self.config.mode
        if mode is Mode.KV and ask.token_count is not None and len(roster) > 1:
            return by_cost(roster, loads, sight, ask.token_count, self.config, self._rng)
        choice = by_requests(mode, roster, loads, self._last_turn, self._rng)
        if mode is Mode.ROUND_ROBIN:
            self._last_turn = (choice.member.worker_id, choice.member.dp_rank)
        return choice

    def _decision(self, ask: Ask, choice: Choice, sight: Sight, now_s: float) -> Decision:
        card = choice.member.card
        return Decision(
            request_id=ask.request_id,
            worker_id=card.worker_id,
            dp_rank=choice.member.dp_rank,
            address=card.address,
            worker_name=card.name,
            mode=self.config.mode,
            reason=choice.reason,
            overlap_blocks=sight.overlaps.device.get(choice.member.slot, 0),
            total_blocks=len(sight.chain),
            scores=choice.scores,
            decided_s=now_s,
            best_overlap_blocks=choice.best_overlap,
        )

    def _begin(self, ask: Ask, decision: Decision, slot: int) -> None:
        now_s, config = self._clock(), self.config
        chain, tokens = self._chain(ask), ask.token_count or 0
        uncached_tokens = max(0, tokens - decision.overlap_blocks * self.block_size)
        shares = config.assumes_kv_reuse and ask.hashes is not None
        self._active.begin(
            ask.request_id,
            slot,
            hashes=chain if shares and config.tracks_active_blocks else (),
            own_blocks=tokens // self.block_size if config.tracks_active_blocks and not shares else 0,
            prefill_tokens=uncached_tokens if config.tracks_prefill_tokens else 0,
            now_s=now_s,
        )
        if chain:
            card = self._fleet.card(decision.worker_id)
            capacity = card.total_kv_blocks if card is not None else None
            self._caches.assume(slot, chain, decision.overlap_blocks, capacity, ask.request_id, now_s)
        best = decision.best_overlap_blocks
        if best and best <= len(chain):
            self._reuses.count(chain[best - 1], is_copied=decision.overlap_blocks < best)

    def _chain(self, ask: Ask) -> list[int]:
        if ask.hashes is None or self.config.mode is not Mode.KV:
            return []
        chain: list[int] = np.asarray(ask.hashes).tolist()
        return chain

    def _loads(self, roster: Roster) -> Loads:
        """Own load plus what reports show of others'."""
        own = self._active.loads(roster.slots)
        foreign = self._reported.foreign(roster.slots, self._clock())
        return own if foreign is None else own.plus(foreign)

    def _wake(self) -> None:
        if not len(self._turns):
            return
        roster = self._fleet.roster
        self._turns.wake_next(roster, lambda: self._loads(roster))

    def _take_slot(self, worker_id: int, dp_rank: int) -> int | None:
        """Events may come before the card. A rank that the card rules out gets no slot: nobody could be sent there."""
        card = self._fleet.card(worker_id)
        if card is not None and dp_rank >= card.data_parallel_size:
            return None
        return self._slots.take(worker_id, dp_rank)

    def _forget(self, slot: int) -> None:
        self._caches.clear(slot)
        self._active.drop(slot)
        self._reported.drop(slot)
