"""One rank's cache as routers should know it: engine events in, router events out, and the whole state on demand.

Engines name blocks by handles of their own; here each gets the chained sequence hash that routers compute from a
prompt. Pure: no sockets, clock or logging; oddities are counted. Owned by the event relay, one per data-parallel rank.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from dynamo.wire.blocks import block_hashes, sequence_hashes
from dynamo.wire.kv_events import AllCleared, BlocksRemoved, BlocksStored, EngineEvent
from dynamo.wire.router_events import Cleared, Hashes, KvEvent, KvState, Removed, Stored, Tier, pack_hashes

EVENT_BLOCKS_MAX = 8192
"""Adjacent events of a kind are told as one up to this size, the limit of a batch."""
HISTORY_EVENTS_MAX = 4096
HISTORY_BLOCKS_MAX = 1 << 18
"""Later events kept for routers that missed some: 2 MiB of hashes at most."""


@dataclass(slots=True)
class Oddities:
    """Events that could not be told to routers; each costs cache misses at worst."""

    unknown_parent: int = 0
    """Stored behind a block we never saw (lost events, or media before it)."""
    unknown_block: int = 0
    """Removed without having been stored."""
    wrong_block_size: int = 0
    media: int = 0
    """Blocks with images or other media, which token ids alone do not name."""


class RankBlocks:
    """What one rank of one worker has cached, per tier.

    A block may be stored under several handles, or several times (engines keep duplicates and say so again); it is
    told to routers when its first copy comes and when its last one goes.
    """

    def __init__(self, worker_id: int, dp_rank: int, block_size: int) -> None:
        self._worker_id = worker_id
        self._dp_rank = dp_rank
        self._block_size = block_size
        self._names: dict[int, int] = {}
        """Handle -> sequence hash, while the handle is held on any tier."""
        self._salts: dict[int, str] = {}
        """Handle -> cache salt: engines tell it with a prompt's first block, it moves the hash of every later one."""
        self._held: dict[Tier, dict[int, int]] = {tier: {} for tier in Tier}
        """Handle -> times stored minus times removed."""
        self._copies: dict[Tier, dict[int, int]] = {tier: {} for tier in Tier}
        """Sequence hash -> copies over all handles; what routers know is exactly its keys."""
        self._history: deque[KvEvent] = deque()
        self._history_blocks = 0
        self._last_event_id = -1
        self.oddities = Oddities()

    def apply(self, events: Iterable[EngineEvent]) -> tuple[KvEvent, ...]:
        """Changes the state; returns what routers must hear, numbered, adjacent changes of a kind as one."""
        told: list[KvEvent] = []
        pending: list[int] = []
        kind: tuple[type[Stored | Removed], Tier] | None = None

        def flush() -> None:
            if kind is not None and pending:
                make, tier = kind
                told.append(self._number(make(self._last_event_id + 1, _packed(pending), tier)))
                pending.clear()

        for event in events:
            if isinstance(event, AllCleared):
                flush()
                told.append(self.clear())
                continue
            is_store = isinstance(event, BlocksStored)
            next_kind: tuple[type[Stored | Removed], Tier] = (Stored if is_store else Removed, event.tier)
            changed = self._store(event) if isinstance(event, BlocksStored) else self._remove(event)
            if next_kind != kind or len(pending) + len(changed) > EVENT_BLOCKS_MAX:
                flush()
                kind = next_kind
            pending.extend(changed)
        flush()
        return tuple(told)

    def clear(self) -> KvEvent:
        """Forgets everything: the engine cleared its cache, or we no longer know what it holds."""
        self._names.clear()
        self._salts.clear()
        for tier in Tier:
            self._held[tier].clear()
            self._copies[tier].clear()
        return self._number(Cleared(self._last_event_id + 1))

    @property
    def is_empty(self) -> bool:
        return not self._names

    def blocks(self, tier: Tier = Tier.DEVICE) -> int:
        return len(self._copies[tier])

    def state(self, after: int | None) -> KvState:
        """All events after id `after` if they are still kept, else everything held."""
        if after is not None and self._first_kept_id() <= after + 1 <= self._last_event_id + 1:
            kept = self._last_event_id - after
            later = tuple(self._history)[len(self._history) - kept :] if kept else ()
            return KvState(self._worker_id, self._dp_rank, self._last_event_id, None, later)
        tiers = {tier: _packed(copies) for tier, copies in self._copies.items() if copies}
        return KvState(self._worker_id, self._dp_rank, self._last_event_id, tiers)

    def check(self) -> None:
        """Asserts the invariants; for tests."""
        held = {handle for handles in self._held.values() for handle in handles}
        assert held == set(self._names)
        assert set(self._salts) <= held
        for tier in Tier:
            copies: dict[int, int] = {}
            for handle, count in self._held[tier].items():
                assert count > 0
                name = self._names[handle]
                copies[name] = copies.get(name, 0) + count
            assert copies == self._copies[tier]
        ids = [event.event_id for event in self._history]
        assert ids == list(range(self._first_kept_id(), self._last_event_id + 1))
        assert self._history_blocks == sum(map(_size, self._history))

    def _store(self, event: BlocksStored) -> Sequence[int]:
        """Sequence hashes that are new on the tier."""
        if event.block_size != self._block_size:
            self.oddities.wrong_block_size += 1
            return ()
        if event.parent is not None and event.parent not in self._names:
            self.oddities.unknown_parent += 1
            return ()
        self.oddities.media += len(event.handles) - event.plain_blocks
        salt = event.cache_salt or (self._salts.get(event.parent) if event.parent is not None else None)
        handles = event.handles[: event.plain_blocks]
        held, copies = self._held[event.tier], self._copies[event.tier]
        fresh: list[int] = []
        for handle, name in zip(handles, self._name(event, salt).tolist(), strict=True):
            name = self._names.setdefault(handle, name)
            if salt:
                self._salts[handle] = salt
            held[handle] = held.get(handle, 0) + 1
            count = copies.get(name, 0)
            copies[name] = count + 1
            if count == 0:
                fresh.append(name)
        return fresh

    def _name(self, event: BlocksStored, salt: str | None) -> Hashes:
        tokens = event.token_ids[: event.plain_blocks * event.block_size]
        parent = None if event.parent is None else self._names[event.parent]
        blocks = block_hashes(tokens, event.block_size, lora_name=event.lora_name, cache_salt=salt)
        return sequence_hashes(blocks, parent=parent)

    def _remove(self, event: BlocksRemoved) -> Sequence[int]:
        """Sequence hashes that are gone from the tier."""
        held, copies = self._held[event.tier], self._copies[event.tier]
        gone: list[int] = []
        for handle in event.handles:
            count = held.get(handle)
            if count is None:
                self.oddities.unknown_block += 1
                continue
            name = self._names[handle]
            if count > 1:
                held[handle] = count - 1
            else:
                del held[handle]
                if not any(handle in handles for handles in self._held.values()):
                    del self._names[handle]
                    self._salts.pop(handle, None)
            if copies[name] > 1:
                copies[name] -= 1
            else:
                del copies[name]
                gone.append(name)
        return gone

    def _number(self, event: KvEvent) -> KvEvent:
        assert event.event_id == self._last_event_id + 1
        self._last_event_id = event.event_id
        self._history.append(event)
        self._history_blocks += _size(event)
        while len(self._history) > HISTORY_EVENTS_MAX or self._history_blocks > HISTORY_BLOCKS_MAX:
            self._history_blocks -= _size(self._history.popleft())
        return event

    def _first_kept_id(self) -> int:
        return self._last_event_id + 1 - len(self._history)


def _packed(names: Sequence[int] | Mapping[int, int]) -> bytes:
    return pack_hashes(np.fromiter(names, dtype=np.uint64, count=len(names)))


def _size(event: KvEvent) -> int:
    return 0 if isinstance(event, Cleared) else len(event.hashes) // 8
