"""Does a subscriber hold one rank's state without gaps? Pure state machine; the feed feeds it and does what it says.

Event ids of a rank count from 0 without gaps. A subscriber starts unknown, fetches the state once, then follows the
events; a gap makes it fetch what is missing, and events that arrive meanwhile wait. While it fetches, what was known
before stays in use: being slightly stale costs cache misses, being empty costs all of them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

from dynamo.wire.router_events import KvEvent, KvState, Tier

WAITING_EVENTS_MAX = 4096
"""Waiting events beyond this are forgotten, oldest first; the fetched state then shows a gap and is fetched again."""


@dataclass(frozen=True, slots=True)
class Step:
    """What to do with the sink, in this order: replace, then apply."""

    replace: dict[Tier, bytes] | None = None
    apply: tuple[KvEvent, ...] = ()


class RankContinuity:
    """Follows one (worker, rank)."""

    def __init__(self) -> None:
        self._last_id: int | None = None
        self._is_behind = True
        self._waiting: deque[KvEvent] = deque(maxlen=WAITING_EVENTS_MAX)

    @property
    def is_behind(self) -> bool:
        """State must be fetched, from `after` on."""
        return self._is_behind

    @property
    def after(self) -> int | None:
        """Last event id known; None: nothing is, fetch everything."""
        return self._last_id

    def offer(self, events: Iterable[KvEvent]) -> Step:
        """Events as they arrive; duplicates and old ones are ignored."""
        if self._is_behind:
            self._waiting.extend(events)
            return Step()
        return Step(apply=self._follow(events))

    def suspect(self) -> None:
        """Something of the worker was lost in transit, perhaps of this rank."""
        self._is_behind = True

    def reset(self) -> None:
        """Nothing known is trusted any more, the next fetch asks for everything."""
        self._last_id = None
        self._is_behind = True
        self._waiting.clear()

    def fetched(self, state: KvState) -> Step:
        """The worker's answer. Afterwards `is_behind` says whether it was enough."""
        if state.tiers is not None:
            self._last_id = state.last_event_id
            caught_up: tuple[KvEvent, ...] = ()
            self._is_behind = False
        else:
            self._is_behind = False
            caught_up = self._follow(state.events)
            if self._is_behind or self._last_id is None or self._last_id < state.last_event_id:
                # An answer to a question we did not ask: only everything helps now.
                self._last_id = None
                self._is_behind = True
                return Step(apply=caught_up)
        waiting = tuple(self._waiting)
        self._waiting.clear()
        return Step(replace=state.tiers, apply=(*caught_up, *self._follow(waiting)))

    def _follow(self, events: Iterable[KvEvent]) -> tuple[KvEvent, ...]:
        """The events that continue what is known; from a gap on they wait."""
        following: list[KvEvent] = []
        for event in events:
            if self._is_behind:
                self._waiting.append(event)
            elif self._last_id is None or event.event_id > self._last_id + 1:
                self._is_behind = True
                self._waiting.append(event)
            elif event.event_id == self._last_id + 1:
                self._last_id = event.event_id
                following.append(event)
        return tuple(following)
