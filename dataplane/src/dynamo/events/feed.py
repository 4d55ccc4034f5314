"""Keeps a router's picture of every worker's KV cache and load true: the receiving end of the event plane.

Given the current cards it keeps one subscription per worker, notices gaps, fetches what was lost from the worker, and
forgets workers that are gone. Owned and run by whoever embeds a router:

    async with EventFeed(sink, source, log) as feed:
        async for cards in discovery.watch():
            feed.follow(cards)
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from types import TracebackType

import zmq

from dynamo.events.ports import KvSink, StateSource, StateUnavailable
from dynamo.events.sockets import Context, Frames, SubReader
from dynamo.events.subscriber import FeedCounts, WorkerEvents
from dynamo.process.logs import EventLog
from dynamo.wire.cards import WorkerCard
from dynamo.wire.router_events import EventError

JOIN_WAIT_S = 1.0
"""A first fetch waits so long for the subscription, so that what happens in between arrives by it."""
RETRY_FIRST_S = 0.05
RETRY_MOST_S = 2.0
FORGET_AFTER_S = 30.0
"""A rank that stays behind for so long is treated as empty: its worker neither answers nor is known to be dead."""

_log = logging.getLogger(__name__)


class EventFeed:
    """An async context; `follow` may be called whenever the cards change."""

    def __init__(self, sink: KvSink, source: StateSource, log: EventLog) -> None:
        self._sink = sink
        self._source = source
        self._log = log
        self.counts = FeedCounts()
        self._context: Context = zmq.Context()
        self._tasks = asyncio.TaskGroup()
        self._followed: dict[int, _Followed] = {}

    async def __aenter__(self) -> EventFeed:
        await self._tasks.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for followed in self._followed.values():
            followed.close()
        self._followed.clear()
        try:
            await self._tasks.__aexit__(kind, error, trace)
        finally:
            self._context.destroy(linger=0)

    def follow(self, cards: Sequence[WorkerCard]) -> None:
        """These are all workers there are now. Those without an event address are none of ours."""
        now = {card.worker_id: card for card in cards if card.event_address is not None}
        for worker_id, followed in list(self._followed.items()):
            if worker_id not in now or followed.is_moved(now[worker_id]):
                self._leave(worker_id)
        for worker_id, card in now.items():
            if worker_id not in self._followed:
                self._join(card)

    @property
    def behind(self) -> tuple[int, ...]:
        """Workers whose state is being fetched, for debug pages and tests."""
        return tuple(worker_id for worker_id, followed in self._followed.items() if followed.events.behind)

    def _join(self, card: WorkerCard) -> None:
        assert card.event_address is not None
        events = WorkerEvents(card, self._sink, self.counts)
        try:
            followed = _Followed(self._context, card.event_address, events)
        except zmq.ZMQError as error:
            self._log.warning("event_address_unusable", worker=card.name, address=card.event_address, error=str(error))
            return
        self._followed[card.worker_id] = followed
        followed.task = self._tasks.create_task(self._keep_up(followed))

    def _leave(self, worker_id: int) -> None:
        self._followed.pop(worker_id).close()
        self._sink.drop(worker_id)

    async def _keep_up(self, followed: _Followed) -> None:
        """Fetches whenever a rank is behind; lives as long as its worker is followed."""
        try:
            async with asyncio.timeout(JOIN_WAIT_S):
                await followed.reader.joined()
        except TimeoutError:
            self._log.warning("events_not_joined", worker=followed.card.name, address=followed.card.event_address)
        while True:
            await followed.is_behind.wait()
            followed.is_behind.clear()
            await self._catch_up(followed)

    async def _catch_up(self, followed: _Followed) -> None:
        pause_s = RETRY_FIRST_S
        give_up_s = asyncio.get_running_loop().time() + FORGET_AFTER_S
        is_first_failure = True
        while followed.events.behind:
            reason = await self._fetch_all(followed)
            if reason is not None:
                self.counts.failed_fetches += 1
                if is_first_failure:
                    self._log.warning("kv_state_fetch_failed", worker=followed.card.name, reason=reason)
                    is_first_failure = False
            if not followed.events.behind:
                return
            if asyncio.get_running_loop().time() > give_up_s:
                give_up_s = float("inf")
                followed.events.forget()
                self._log.warning("kv_state_forgotten", worker=followed.card.name, after_s=FORGET_AFTER_S)
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, RETRY_MOST_S)

    async def _fetch_all(self, followed: _Followed) -> str | None:
        """One try for each rank that is behind; returns what went wrong."""
        for dp_rank, after in followed.events.behind:
            try:
                followed.events.fetched(dp_rank, await self._source.fetch(followed.card, dp_rank, after))
            except (StateUnavailable, EventError) as error:
                return str(error)
            except Exception as error:
                # On purpose: a defect in a sink or source must not end the feed, and with it the frontend.
                _log.exception("event feed of %s", followed.card.name)
                return repr(error)
        return None


class _Followed:
    """A worker with its subscription and the task that keeps it up to date."""

    def __init__(self, context: Context, address: str, events: WorkerEvents) -> None:
        self.events = events
        self.card = events.card
        self.is_behind = asyncio.Event()
        self.is_behind.set()
        self.reader = SubReader(context, address, self._take)
        self.task: asyncio.Task[None] | None = None

    def is_moved(self, card: WorkerCard) -> bool:
        """Changed in a way that voids the subscription; a loaded adapter, say, does not."""
        old = self.card
        return (card.event_address, card.system_address, card.data_parallel_size) != (
            old.event_address,
            old.system_address,
            old.data_parallel_size,
        )

    def close(self) -> None:
        self.reader.close()
        if self.task is not None:
            self.task.cancel()

    def _take(self, frames: Frames) -> None:
        self.events.take(frames)
        if self.events.behind:
            self.is_behind.set()
