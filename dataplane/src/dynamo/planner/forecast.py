"""How many requests per second to expect when workers asked for now are ready. Pure.

Short windows count only what chance does not explain, so that a tripled load shows within two intervals and noise does
not. Called by `decide`.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from dynamo.planner.observation import Count

TREND_SIGMAS = 3.0
"""Standard deviations that must lie between a trend and chance: it is asked at every tick."""
SHORT_WINDOWS = ((1, 2.5), (3, 1.5))
"""Intervals, and standard deviations taken off their sum before it counts."""
COLD_SIGMAS = 1.5
"""Standard deviations taken off a count whose window has just begun, fewer as it fills."""
DISPERSION_MAX = 20.0


@dataclass(frozen=True, slots=True)
class Forecast:
    rate_per_s: float
    dispersion: float
    """Index of dispersion of counts: 1 is Poisson."""
    windows: tuple[tuple[float, float], ...] = ()
    """(seconds, rate) that the rate is the highest of."""
    counts: tuple[Count, ...] = ()

    def lasting(self, hold_s: float) -> Forecast:
        """As requests that stay so long make it: what came in less time has not begun to leave.

        Thirty clients that ask all at once, and again when all are answered, are thirty at a time and never more.
        """
        longest_s, usual = max(self.windows, default=(0.0, self.rate_per_s))
        fitting = [rate for over_s, rate in self.windows if over_s >= min(hold_s, longest_s)] or [usual]
        return Forecast(max(0.0, *fitting), _dispersion(_joined(self.counts, hold_s)))


def forecast(counts: Sequence[Count], now_s: float, *, lead_s: float, steady_s: float) -> Forecast:
    """The rate in `lead_s` from now; `counts` in order of time."""
    if not counts:
        return Forecast(0.0, 1.0)
    dispersion = _dispersion(counts)
    half_s = max(steady_s, lead_s)
    ahead = _trend(counts, now_s, half_s, dispersion) * (lead_s + half_s / 2)
    # What a short window is judged by must not contain it: a sudden rise would pass for burstiness.
    usual = _dispersion(counts[: -SHORT_WINDOWS[-1][0]])
    windows = [(steady_s, _rate(counts, now_s, steady_s, usual) + ahead)]
    for intervals, sigmas in SHORT_WINDOWS:
        recent = counts[-intervals:]
        seen, over_s = sum(one.arrivals for one in recent), sum(one.interval_s for one in recent)
        windows.append((over_s, (seen - sigmas * math.sqrt(usual * seen)) / over_s + ahead))
    return Forecast(max(0.0, *(rate for _, rate in windows)), dispersion, tuple(windows), tuple(counts))


def _rate(counts: Sequence[Count], now_s: float, window_s: float, usual: float) -> float:
    """The mean of the window; of one that is not full yet, less what chance may have put into it."""
    recent = [one for one in counts if one.at_s > now_s - window_s] or list(counts[-1:])
    seen, over_s = sum(one.arrivals for one in recent), sum(one.interval_s for one in recent)
    lacks = max(0.0, 1.0 - over_s / window_s)
    return (seen - COLD_SIGMAS * lacks * math.sqrt(usual * seen)) / over_s


def _trend(counts: Sequence[Count], now_s: float, half_s: float, dispersion: float) -> float:
    """By how much the rate rises per second, if that is significant; falls are left to the settling time.

    Load that has only begun has no trend yet. A rise that was not going on all along is a step: it has arrived where
    it will stay. One that brings no more requests at a time comes of quicker answers: clients that wait for one before
    they ask again ask more often.
    """
    parts = [_within(counts, now_s - (4 - part) * half_s / 2, half_s / 2) for part in range(4)]
    newest = _within(counts, now_s - half_s / 4, half_s / 4)
    is_covered = newest.over_s and all(part.over_s >= half_s / 4 for part in parts)
    if not is_covered or not parts[0].arrivals or parts[3].present <= parts[2].present:
        return 0.0
    rates = [part.rate for part in parts]
    rise = (rates[2] + rates[3] - rates[0] - rates[1]) / 2
    chance = TREND_SIGMAS * math.sqrt(dispersion * sum(part.rate / part.over_s for part in parts)) / 2
    rises = [after - before for before, after in itertools.pairwise(rates)]
    slowest = min(*rises, 4 * (newest.rate - rates[3]))
    return max(0.0, min(rise, 2 * slowest)) / half_s if rise > chance else 0.0


@dataclass(frozen=True, slots=True)
class _Part:
    """A stretch of the history."""

    arrivals: float
    over_s: float
    """In which they were counted."""
    present: float
    """Requests at a time, on average."""

    @property
    def rate(self) -> float:
        return self.arrivals / self.over_s


def _within(counts: Sequence[Count], from_s: float, lasts_s: float) -> _Part:
    found = [one for one in counts if from_s < one.at_s <= from_s + lasts_s]
    present = sum(one.present for one in found) / max(1, len(found))
    return _Part(sum(one.arrivals for one in found), sum(one.interval_s for one in found), present)


def _joined(counts: Sequence[Count], over_s: float) -> list[Count]:
    """Counts of at least `over_s` each, the newest whole; what is left over at the beginning is dropped."""
    found: list[Count] = []
    arrivals = interval_s = 0.0
    for one in reversed(counts):
        arrivals, interval_s = arrivals + one.arrivals, interval_s + one.interval_s
        if interval_s >= over_s:
            found.append(Count(one.at_s, interval_s, arrivals))
            arrivals = interval_s = 0.0
    return found[::-1]


def _dispersion(counts: Sequence[Count]) -> float:
    """From differences of neighbours, so that a slow change of the rate does not count as burstiness."""
    pairs = list(itertools.pairwise(counts))
    if len(pairs) < 3 or not any(one.arrivals for one in counts):
        return 1.0
    mean = sum(one.arrivals for one in counts) / len(counts)
    variance = sum((after.arrivals - before.arrivals) ** 2 for before, after in pairs) / (2 * len(pairs))
    return min(DISPERSION_MAX, max(1.0, variance / mean))
