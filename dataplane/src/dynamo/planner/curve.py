"""A measured curve: one mean per logarithmic stretch of x, read as a straight line with nothing negative in it. Pure.

Old stretches stay until they are an hour old, so that a long steady load does not wipe out what was learnt about
others. Engines are close to affine in what is asked here: prefill seconds in prompt tokens, inter-token latency in
requests per worker.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

STRETCHES_PER_DOUBLING = 2
WEIGHT_MAX = 12.0
"""Intervals that a stretch's mean looks back over."""
FORGET_AFTER_S = 3600.0
LEAST = 1e-6
"""Smaller numbers measure nothing; arithmetic on them would overflow."""
REACH = 2.0
"""How far beyond the largest x seen a curve may be trusted."""


@dataclass(frozen=True, slots=True)
class Point:
    x: float
    y: float
    weight: float
    at_s: float


@dataclass(frozen=True, slots=True)
class Curve:
    points: Mapping[int, Point] = field(default_factory=dict)
    """By stretch."""

    def with_sample(self, x: float, y: float, now_s: float) -> Curve:
        """The curve with one more measurement; what makes no sense is left out."""
        if not (LEAST <= x < math.inf and LEAST <= y < math.inf):
            return self
        stretch = round(math.log2(x) * STRETCHES_PER_DOUBLING)
        old = self.points.get(stretch)
        weight = min(WEIGHT_MAX, (old.weight if old else 0.0) + 1.0)
        share = 1.0 / weight
        point = Point(x, y, 1.0, now_s)
        if old is not None:
            point = Point(old.x + (x - old.x) * share, old.y + (y - old.y) * share, weight, now_s)
        kept = {key: each for key, each in self.points.items() if now_s - each.at_s <= FORGET_AFTER_S}
        return Curve({**kept, stretch: point})

    @property
    def is_empty(self) -> bool:
        return not self.points

    def at(self, x: float) -> float | None:
        """y at x. Along one known point it is proportional above x and constant below: never too little."""
        if not self.points:
            return None
        if len(self.points) == 1:
            (point,) = self.points.values()
            return point.y * max(1.0, x / point.x)
        base, slope = self._line()
        return base + slope * x

    def expected_at(self, x: float) -> float | None:
        """y at x as far as measurements go: where `at` must not promise too much, this must not fear too much.

        One point says nothing of the slope: counted as proportional, it would make each stream as dear as the first.
        """
        if len(self.points) != 1:
            return self.at(x)
        (point,) = self.points.values()
        return point.y

    def reaches(self, y: float) -> float | None:
        """The largest x whose y stays within `y`; None: no x does.

        Per unit of x an affine curve only falls, so what is known of one point holds in proportion beyond it; a line
        through several points is followed to `REACH` times what was seen.
        """
        if not self.points:
            return None
        last = max(self.points.values(), key=lambda point: point.x)
        proportional = last.x * y / last.y
        if len(self.points) == 1:
            return proportional
        base, slope = self._line()
        if base >= y:
            return None
        most = max(REACH * last.x, proportional)
        return min((y - base) / slope, most) if slope > 0 else most

    def in_proportion(self, y: float) -> float | None:
        """x for `y` when y is a multiple of x, read off the largest x seen."""
        if not self.points:
            return None
        last = max(self.points.values(), key=lambda point: point.x)
        return last.x * y / last.y

    @property
    def most(self) -> float:
        """The largest x seen; 0 when there is none."""
        return max((point.x for point in self.points.values()), default=0.0)

    def _line(self) -> tuple[float, float]:
        """Weighted least squares with intercept and slope kept from going negative."""
        points = self.points.values()
        total = sum(point.weight for point in points)
        mean_x = sum(point.weight * point.x for point in points) / total
        mean_y = sum(point.weight * point.y for point in points) / total
        spread = sum(point.weight * (point.x - mean_x) ** 2 for point in points)
        slope = sum(point.weight * (point.x - mean_x) * (point.y - mean_y) for point in points) / spread
        if slope <= 0:
            return mean_y, 0.0
        if (base := mean_y - slope * mean_x) >= 0:
            return base, slope
        squares = sum(point.weight * point.x**2 for point in points)
        return 0.0, sum(point.weight * point.x * point.y for point in points) / squares


NO_CURVE = Curve()
