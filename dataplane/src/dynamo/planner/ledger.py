"""What counters grew by since each source was last read: restarts, gaps and newcomers told apart.

The only state between scrapes. Owned by `measure`; nothing else remembers readings.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from dynamo.planner.reading import Reading


@dataclass(frozen=True, slots=True)
class Growth:
    """Of one source, over `interval_s` seconds."""

    interval_s: float
    totals: Mapping[str, float]
    buckets: Mapping[float, float]


class Ledger:
    """The last reading per source."""

    def __init__(self) -> None:
        self._last: dict[str, tuple[float, Reading]] = {}

    def growth(self, source: str, reading: Reading, now_s: float, *, stale_s: float) -> Growth | None:
        """None when there is nothing to compare with: first seen, seen longer ago than `stale_s`, or begun anew."""
        before = self._last.get(source)
        self._last[source] = (now_s, reading)
        if before is None or now_s - before[0] > stale_s or now_s <= before[0]:
            return None
        at_s, old = before
        if any(reading.totals.get(key, 0.0) < value for key, value in old.totals.items()):
            # Counters never fall: the process is another, or some of its series are gone. What the others stand at is
            # not what they grew by; the next reading tells.
            return None
        return Growth(
            now_s - at_s,
            {key: value - old.totals.get(key, 0.0) for key, value in reading.totals.items()},
            {key: max(0.0, value - old.buckets.get(key, 0.0)) for key, value in reading.buckets.items()},
        )

    def keep(self, sources: Iterable[str]) -> None:
        """Forgets everybody else, so that churn does not grow it."""
        kept = set(sources)
        self._last = {name: last for name, last in self._last.items() if name in kept}

    def check(self) -> None:
        """Asserts the invariants."""
        for at_s, reading in self._last.values():
            assert at_s >= 0, "readings have a time"
            assert all(value >= 0 for value in reading.totals.values()), "counters are never negative"
