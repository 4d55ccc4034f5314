"""The workers a router may choose from: their cards, their slots, and who is avoided for a moment.

Changed by `set_workers` (discovery) and `inhibit` (a connection failed before discovery noticed). Called by the router.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import msgspec

from dynamo.router.slots import Slots
from dynamo.wire.cards import WorkerCard

DEFAULT_STEP_TOKENS = 8192
"""Prompt tokens an engine takes per step when its card does not say: vLLM's default."""


class Member(msgspec.Struct, frozen=True):
    """One rank of one worker."""

    slot: int
    dp_rank: int
    card: WorkerCard

    @property
    def worker_id(self) -> int:
        return self.card.worker_id

    @property
    def label(self) -> str:
        return self.card.name if self.card.data_parallel_size == 1 else f"{self.card.name}/{self.dp_rank}"

    @property
    def step_tokens(self) -> int:
        return self.card.max_num_batched_tokens or DEFAULT_STEP_TOKENS


class Fleet:
    """Members in order of (worker_id, dp_rank)."""

    def __init__(self, slots: Slots) -> None:
        self._slots = slots
        self._cards: dict[int, WorkerCard] = {}
        self._members: tuple[Member, ...] = ()
        self._inhibited_until_s: dict[int, float] = {}
        self.most_seen = 0
        """The largest number of workers that were ever there at once."""

    @property
    def members(self) -> tuple[Member, ...]:
        return self._members

    @property
    def worker_count(self) -> int:
        return len(self._cards)

    def card(self, worker_id: int) -> WorkerCard | None:
        return self._cards.get(worker_id)

    def set_workers(self, cards: Sequence[WorkerCard]) -> tuple[int, ...]:
        """Takes over the new set; returns the slots that are no longer used, for the caller to drop and release."""
        gone = self._cards.keys() - {card.worker_id for card in cards}
        self._cards = {card.worker_id: card for card in sorted(cards, key=lambda card: card.worker_id)}
        self._members = tuple(
            Member(self._slots.take(card.worker_id, rank), rank, card)
            for card in self._cards.values()
            for rank in range(card.data_parallel_size)
        )
        self._inhibited_until_s = {key: until for key, until in self._inhibited_until_s.items() if key in self._cards}
        self.most_seen = max(self.most_seen, len(self._cards))
        return tuple(slot for worker_id in sorted(gone) for slot in self._slots.of_worker(worker_id))

    def block_size(self) -> int | None:
        """What most workers use (of equals the smallest); others cannot share block names with them."""
        sizes = Counter(card.block_size for card in self._cards.values())
        return min(sizes, key=lambda size: (-sizes[size], size)) if sizes else None

    def inhibit(self, worker_id: int, until_s: float) -> None:
        if worker_id in self._cards:
            self._inhibited_until_s[worker_id] = until_s

    def inhibited(self, now_s: float) -> frozenset[int]:
        if not self._inhibited_until_s:
            return frozenset()
        return frozenset(key for key, until_s in self._inhibited_until_s.items() if until_s > now_s)
