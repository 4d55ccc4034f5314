"""Drives one rank's scheduler on the event loop's clock and hands each token to whoever asked for it.

A step's tokens are delivered when its time is over. Steps follow each other on planned times, so that a busy loop
delays tokens without losing speed on average. The engine owns one per rank.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from dynamo.mocker.metrics import RankMetrics
from dynamo.mocker.scheduler import Scheduler
from dynamo.mocker.work import CacheEvent, Emitted, Step, Work

MAX_LAG_S = 0.25
"""A loop that is later than this starts anew from now instead of rushing to catch up."""
_log = logging.getLogger(__name__)
Listener = Callable[[Emitted], None]


@dataclass(slots=True)
class _Track:
    listener: Listener
    prompt_tokens: int
    is_transferred: bool
    arrived_s: float
    started_s: float = 0.0
    first_s: float = 0.0
    last_s: float = 0.0
    tokens: int = 0


class RankLoop:
    """One rank: its queue of work, the running step, its counters."""

    def __init__(
        self,
        scheduler: Scheduler,
        loop: asyncio.AbstractEventLoop,
        publish: Callable[[Sequence[CacheEvent]], None],
    ) -> None:
        self.scheduler = scheduler
        self.metrics = RankMetrics()
        self.steps = 0
        """Ended since the start."""
        self._loop = loop
        self._publish = publish
        self._tracks: dict[str, _Track] = {}
        self._planned: asyncio.Handle | None = None

    @property
    def queued(self) -> int:
        """Sequences that are here."""
        return len(self._tracks)

    def submit(self, work: Work, listener: Listener) -> None:
        """`listener` gets every token in order, the last one with its finish."""
        self._tracks[work.request_id] = _Track(
            listener, len(work.prompt), work.prompt_is_transferred, self._loop.time()
        )
        self.scheduler.submit(work)
        if self._planned is None:
            # Not at once: requests that arrive together in one turn of the loop share a batch.
            self._planned = self._loop.call_soon(self._begin_step, self._loop.time())

    def abort(self, request_id: str) -> None:
        """Frees the request's blocks now; its listener hears no more."""
        if self._tracks.pop(request_id, None) is not None:
            self.metrics.finished["abort"] += 1
            self.scheduler.abort(request_id)

    def clear_cache(self) -> bool:
        """False while requests run."""
        events = self.scheduler.clear_cache()
        if events:
            self._publish(events)
        return bool(events)

    def stop(self) -> None:
        if self._planned is not None:
            self._planned.cancel()
            self._planned = None
        for request_id in list(self._tracks):
            self.abort(request_id)

    def _begin_step(self, start_s: float) -> None:
        if not self.scheduler.has_work:
            self._planned = None
            return
        now_s = self._loop.time()
        if now_s - start_s > MAX_LAG_S:
            start_s = now_s
        step = self.scheduler.step()
        for request_id in step.started:
            if track := self._tracks.get(request_id):
                track.started_s = now_s
        due_s = start_s + step.duration_s
        if due_s > now_s:
            self._planned = self._loop.call_at(due_s, self._finish_step, step, due_s)
        else:
            self._planned = self._loop.call_soon(self._finish_step, step, due_s)

    def _finish_step(self, step: Step, due_s: float) -> None:
        self.steps += 1
        if step.events:
            self._publish(step.events)
        now_s = self._loop.time()
        for emitted in step.emitted:
            track = self._tracks.get(emitted.request_id)
            if track is None:
                continue
            self._count(track, emitted, now_s)
            try:
                track.listener(emitted)
            except Exception:
                # One broken answer must not stop everybody else's; the client sees its connection cut.
                _log.exception("an answer could not take its token")
                self.abort(emitted.request_id)
        self._begin_step(due_s)

    def _count(self, track: _Track, emitted: Emitted, now_s: float) -> None:
        metrics = self.metrics
        if emitted.token is not None:
            metrics.generation_tokens += 1
            track.tokens += 1
        if track.first_s == 0.0:
            track.first_s = now_s
            metrics.prompt_tokens += track.prompt_tokens
            metrics.transferred_prompt_tokens += track.prompt_tokens if track.is_transferred else 0
            metrics.ttft_s.observe(now_s - track.arrived_s)
            metrics.queue_s.observe(track.started_s - track.arrived_s)
            metrics.prefill_s.observe(now_s - track.started_s)
        else:
            metrics.itl_s.observe(now_s - track.last_s)
        track.last_s = now_s
        if emitted.finish is not None:
            self._tracks.pop(emitted.request_id)
            self._count_finished(track, emitted.finish.value, now_s)

    def _count_finished(self, track: _Track, reason: str, now_s: float) -> None:
        metrics = self.metrics
        metrics.finished[reason] += 1
        metrics.e2e_s.observe(now_s - track.arrived_s)
        metrics.decode_s.observe(now_s - track.first_s)
        if track.tokens > 1:
            metrics.tpot_s.observe((now_s - track.first_s) / (track.tokens - 1))
        metrics.request_prompt_tokens.observe(track.prompt_tokens)
        metrics.request_generation_tokens.observe(track.tokens)
