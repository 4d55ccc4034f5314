"""The workers a router may choose from: their cards, their slots, and who is avoided for a moment.

Changed by `set_workers` (discovery) and `inhibit` (a connection failed before discovery noticed). Called by the router.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np

from dynamo.router.columns import Flags, Ints
from dynamo.router.slots import Slots
from dynamo.wire.cards import WorkerCard

DEFAULT_STEP_TOKENS = 8192
"""Prompt tokens an engine takes per step when its card does not say: vLLM's default."""
UNLIMITED = 1 << 50
"""Stands in columns for a limit that a card does not name."""


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


@dataclass(frozen=True, slots=True)
class Roster:
    """Members in order of (worker_id, dp_rank), and a column of each number of theirs that decisions compute with."""

    members: tuple[Member, ...]
    slots: Ints
    step_tokens: Ints
    total_blocks: Ints
    most_requests: Ints

    @classmethod
    def of(cls, members: Sequence[Member]) -> Roster:
        return cls(
            tuple(members),
            np.array([member.slot for member in members], dtype=np.int64),
            _limits([member.step_tokens for member in members]),
            _limits([member.card.total_kv_blocks for member in members]),
            _limits([member.card.max_num_seqs for member in members]),
        )

    def __len__(self) -> int:
        return len(self.members)

    def only(self, keep: Callable[[Member], bool]) -> Roster:
        return self.where(np.array([keep(member) for member in self.members], dtype=np.bool_))

    def where(self, mask: Flags) -> Roster:
        """Those under the mask, of shape (members,)."""
        kept = np.flatnonzero(mask)
        if len(kept) == len(self):
            return self
        return Roster(
            tuple(self.members[position] for position in kept.tolist()),
            self.slots[kept],
            self.step_tokens[kept],
            self.total_blocks[kept],
            self.most_requests[kept],
        )


class Fleet:
    """Who is there, and who of them is avoided."""

    def __init__(self, slots: Slots) -> None:
        self._slots = slots
        self._cards: dict[int, WorkerCard] = {}
        self._roster = Roster.of(())
        self._inhibited_until_s: dict[int, float] = {}
        self.most_seen = 0
        """The largest number of workers that were ever there at once."""
        self.block_size: int | None = None
        """What most workers use (of equals the smallest); others cannot share block names with them."""

    @property
    def roster(self) -> Roster:
        return self._roster

    @property
    def worker_count(self) -> int:
        return len(self._cards)

    def card(self, worker_id: int) -> WorkerCard | None:
        return self._cards.get(worker_id)

    def set_workers(self, cards: Sequence[WorkerCard]) -> tuple[int, ...]:
        """Takes over the new set; returns the slots that are no longer used, for the caller to drop and release."""
        gone = self._cards.keys() - {card.worker_id for card in cards}
        self._cards = {card.worker_id: card for card in sorted(cards, key=lambda card: card.worker_id)}
        self._roster = Roster.of(
            [
                Member(self._slots.take(card.worker_id, rank), rank, card)
                for card in self._cards.values()
                for rank in range(card.data_parallel_size)
            ]
        )
        self._inhibited_until_s = {key: until for key, until in self._inhibited_until_s.items() if key in self._cards}
        sizes = Counter(card.block_size for card in self._cards.values())
        self.block_size = min(sizes, key=lambda size: (-sizes[size], size), default=None)
        self.most_seen = max(self.most_seen, len(self._cards))
        return tuple(slot for worker_id in sorted(gone) for slot in self._slots.of_worker(worker_id))

    def inhibit(self, worker_id: int, until_s: float) -> None:
        if worker_id in self._cards:
            self._inhibited_until_s[worker_id] = until_s

    def inhibited(self, now_s: float) -> frozenset[int]:
        if not self._inhibited_until_s:
            return frozenset()
        return frozenset(key for key, until_s in self._inhibited_until_s.items() if until_s > now_s)


def _limits(values: Sequence[int | None]) -> Ints:
    return np.array([min(value or UNLIMITED, UNLIMITED) for value in values], dtype=np.int64)
