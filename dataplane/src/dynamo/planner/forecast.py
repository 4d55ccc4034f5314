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
DAMPING = 0.5
"""Share of a trend that is expected to go on."""
DISPERSION_MAX = 20.0


@dataclass(frozen=True, slots=True)
class Forecast:
    rate_per_s: float
    dispersion: float
    """Index of dispersion of counts: 1 is Poisson."""


def forecast(counts: Sequence[Count], now_s: float, *, lead_s: float, steady_s: float) -> Forecast:
    """The rate in `lead_s` from now; `counts` in order of time."""
    if not counts:
        return Forecast(0.0, 1.0)
    dispersion = _dispersion(counts)
    rates = [_rate(counts, now_s, steady_s)]
    # What a short window is judged by must not contain it: a sudden rise would pass for burstiness.
    usual = _dispersion(counts[: -SHORT_WINDOWS[-1][0]])
    for intervals, sigmas in SHORT_WINDOWS:
        recent = counts[-intervals:]
        seen, over_s = sum(one.arrivals for one in recent), sum(one.interval_s for one in recent)
        rates.append((seen - sigmas * math.sqrt(usual * seen)) / over_s)
    rate = max(0.0, *rates)
    half_s = max(steady_s, lead_s)
    ahead_s = lead_s + half_s / 2
    return Forecast(rate + _trend(counts, now_s, half_s, dispersion) * ahead_s, dispersion)


def _rate(counts: Sequence[Count], now_s: float, window_s: float) -> float:
    recent = [one for one in counts if one.at_s > now_s - window_s] or list(counts[-1:])
    return sum(one.arrivals for one in recent) / sum(one.interval_s for one in recent)


def _trend(counts: Sequence[Count], now_s: float, half_s: float, dispersion: float) -> float:
    """By how much the rate rises per second, if that is significant; falls are left to the settling time."""
    late = [one for one in counts if one.at_s > now_s - half_s]
    early = [one for one in counts if now_s - 2 * half_s < one.at_s <= now_s - half_s]
    late_s, early_s = sum(one.interval_s for one in late), sum(one.interval_s for one in early)
    if early_s < half_s / 2 or late_s <= 0:
        return 0.0
    late_n, early_n = sum(one.arrivals for one in late), sum(one.arrivals for one in early)
    rise = late_n / late_s - early_n / early_s
    chance = TREND_SIGMAS * math.sqrt(dispersion * (late_n / late_s**2 + early_n / early_s**2))
    return DAMPING * rise / half_s if rise > chance else 0.0


def _dispersion(counts: Sequence[Count]) -> float:
    """From differences of neighbours, so that a slow change of the rate does not count as burstiness."""
    pairs = list(itertools.pairwise(counts))
    if len(pairs) < 3 or not any(one.arrivals for one in counts):
        return 1.0
    mean = sum(one.arrivals for one in counts) / len(counts)
    variance = sum((after.arrivals - before.arrivals) ** 2 for before, after in pairs) / (2 * len(pairs))
    return min(DISPERSION_MAX, max(1.0, variance / mean))
