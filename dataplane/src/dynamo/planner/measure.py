"""From pages of text to an observation: growth per source, summed over the frontends, averaged over the workers.

Reads nothing itself. Called by `loop` with what `scrape` fetched; keeps the counters' last values in a `Ledger`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from dynamo.planner.ledger import Growth, Ledger
from dynamo.planner.observation import Fleet, Observation, Traffic
from dynamo.planner.reading import Reading, Unreadable, read_frontend, read_worker
from dynamo.planner.scrape import Page
from dynamo.planner.sight import Sight, Source
from dynamo.wire.cards import Role

STALE_TICKS = 4
"""Ticks after which a source's old counters say nothing about now."""
MISSING_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Scope:
    """Which series count."""

    prefix: str = "dynamo_frontend"
    model: str | None = None


class Measure:
    """Turns scrapes into observations; one per planner."""

    def __init__(self, scope: Scope, tick_s: float) -> None:
        self._scope = scope
        self._tick_s = tick_s
        self._ledger = Ledger()

    def observe(self, sight: Sight, pages: Mapping[str, Page], now_s: float) -> Observation:
        """Sources without a page, or with one that cannot be used, are named in `missing`."""
        missing: list[str] = []
        traffic, max_num_seqs = self._traffic(sight.frontends, pages, now_s, missing)
        fleets = {role: self._fleet(sight, role, pages, now_s, missing, max_num_seqs) for role in sight.components}
        self._ledger.keep(pages)
        shown = tuple(missing[:MISSING_SHOWN])
        more = (f"and {len(missing) - MISSING_SHOWN} more",) if len(missing) > MISSING_SHOWN else ()
        return Observation(now_s, traffic, fleets, (*shown, *more))

    def _traffic(
        self, sources: Sequence[Source], pages: Mapping[str, Page], now_s: float, missing: list[str]
    ) -> tuple[Traffic | None, int | None]:
        if not sources:
            missing.append("no frontend is ready")
            return None, None
        scope = self._scope
        readings = _readings(
            sources, pages, lambda text: read_frontend(text, prefix=scope.prefix, model=scope.model), missing
        )
        grown = self._grown(readings, now_s)
        if not grown:
            if readings:
                missing.append("frontends read for the first time or begun anew, nothing to compare with yet")
            return None, None
        levels = [reading.levels for reading in readings.values()]
        limits = [int(level["max_num_seqs"]) for level in levels if level.get("max_num_seqs")]
        is_partial = len(grown) < len(sources)
        return _traffic(grown, levels, self._tick_s, is_partial), min(limits, default=None)

    def _fleet(
        self,
        sight: Sight,
        role: Role,
        pages: Mapping[str, Page],
        now_s: float,
        missing: list[str],
        max_num_seqs: int | None,
    ) -> Fleet:
        component = sight.components[role]
        readings = _readings(sight.workers.get(role, ()), pages, read_worker, missing)
        grown = self._grown(readings, now_s)
        levels = [reading.levels for reading in readings.values()]
        shares = [level["kv_share"] for level in levels if "kv_share" in level]
        running = [level.get("running", 0.0) for level in levels]
        # Workers that did not answer are taken to be as busy as the others.
        scale = component.ready / len(levels) if levels and component.ready > len(levels) else 1.0
        if component.ready > 0 and not sight.workers.get(role):
            missing.append(f"no address of a ready {role.value} worker")
        return Fleet(
            desired=component.desired,
            ready=component.ready,
            present=component.present,
            seen=len(levels),
            running=scale * sum(running),
            waiting=scale * sum(level.get("waiting", 0.0) for level in levels),
            crowd=sum(one * one for one in running) / sum(running) if sum(running) > 0 else None,
            kv_share=sum(shares) / len(shares) if shares else None,
            prefill_s=_mean(grown, "prefill"),
            itl_s=_mean(grown, "itl"),
            max_num_seqs=max_num_seqs,
            gpus_per_replica=component.gpus_per_replica,
        )

    def _grown(self, readings: Mapping[str, Reading], now_s: float) -> list[Growth]:
        stale_s = STALE_TICKS * self._tick_s
        found = (self._ledger.growth(name, reading, now_s, stale_s=stale_s) for name, reading in readings.items())
        return [growth for growth in found if growth is not None]


def _readings(
    sources: Sequence[Source], pages: Mapping[str, Page], read: Callable[[str], Reading], missing: list[str]
) -> dict[str, Reading]:
    found = {}
    for source in sources:
        page = pages.get(source.name)
        if page is None or page.text is None:
            missing.append(f"{source.name}: {page.error if page else 'not read'}")
            continue
        try:
            reading = read(page.text)
        except Unreadable as error:
            missing.append(f"{source.name}: {error}")
            continue
        if reading.odd:
            missing.append(f"{source.name}: {reading.odd[0]} is no finite number")
            continue
        found[source.name] = reading
    return found


def _traffic(
    grown: Sequence[Growth], levels: Sequence[Mapping[str, float]], tick_s: float, is_partial: bool
) -> Traffic:
    def total(key: str) -> float:
        """Per tick, so that a source that was not read for a while does not count as a burst."""
        return sum(growth.totals.get(key, 0.0) * tick_s / growth.interval_s for growth in grown)

    isl, cached = _mean(grown, "isl"), _mean(grown, "cached")
    return Traffic(
        interval_s=tick_s,
        arrivals=total("arrivals"),
        completions=total("osl_count"),
        first_tokens=total("ttft_count"),
        isl_tokens=isl,
        uncached_tokens=max(0.0, isl - cached) if isl is not None and cached is not None else isl,
        isl_cv2=_spread(grown),
        osl_tokens=_mean(grown, "osl"),
        ttft_s=_mean(grown, "ttft"),
        itl_s=_mean(grown, "itl"),
        duration_s=_mean(grown, "duration"),
        in_flight=sum(level.get("in_flight", 0.0) for level in levels),
        queued=sum(level.get("queued", 0.0) for level in levels),
        is_partial=is_partial,
    )


def _mean(grown: Sequence[Growth], key: str) -> float | None:
    count = sum(growth.totals.get(f"{key}_count", 0.0) for growth in grown)
    return sum(growth.totals.get(f"{key}_sum", 0.0) for growth in grown) / count if count > 0 else None


def _spread(grown: Sequence[Growth]) -> float | None:
    """Squared coefficient of variation of prompt lengths, with every prompt in the middle of its bucket."""
    bounds = sorted({bound for growth in grown for bound in growth.buckets})
    below, lower, count, total, squares = 0.0, 0.0, 0.0, 0.0, 0.0
    for bound in bounds:
        upto = sum(growth.buckets.get(bound, 0.0) for growth in grown)
        middle = (lower + bound) / 2 if bound != float("inf") else lower * 1.5
        inside = max(0.0, upto - below)
        count, total, squares = count + inside, total + inside * middle, squares + inside * middle * middle
        below, lower = upto, bound
    return max(0.0, squares * count / (total * total) - 1.0) if total > 0 else None
