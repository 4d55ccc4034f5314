"""A histogram that costs a binary search and two additions per observation."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence


class Histogram:
    """Counts per bucket; `bounds` are upper limits, included, without +Inf."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = tuple(bounds)
        self.counts = [0] * (len(self.bounds) + 1)
        self.total = 0.0

    def observe(self, value: float, times: int = 1) -> None:
        self.counts[bisect_left(self.bounds, value)] += times
        self.total += value * times

    @classmethod
    def sum_of(cls, parts: Sequence[Histogram], bounds: Sequence[float]) -> Histogram:
        """One histogram over the observations of all; they share `bounds`."""
        whole = cls(bounds)
        whole.counts = [sum(column) for column in zip(whole.counts, *(part.counts for part in parts), strict=True)]
        whole.total = sum(part.total for part in parts)
        return whole

    @property
    def count(self) -> int:
        return sum(self.counts)

    def cumulative(self) -> list[tuple[str, float]]:
        """(upper bound, observations up to it), +Inf last: Prometheus' form."""
        buckets: list[tuple[str, float]] = []
        seen = 0
        for bound, count in zip((*self.bounds, float("inf")), self.counts, strict=True):
            seen += count
            buckets.append(("+Inf" if bound == float("inf") else f"{bound:.10g}", seen))
        return buckets
