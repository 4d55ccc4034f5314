"""Whether a worker lives, by its answers to probes. Pure; `vigil` probes and acts.

One lost probe only makes it suspect: requests avoid it until the next, which is sent at once. Two make it frozen: it
gets nothing more, and what it owes is given up. A frozen worker must answer twice in a row before it counts again.
"""

from __future__ import annotations

from dataclasses import dataclass

MISSES = 2
BEATS = 2
FROZEN_EVERY_S = 1.0
"""A frozen worker is asked at least this often: it may come back."""


@dataclass(frozen=True, slots=True)
class Pulse:
    """What is remembered of one worker's answers."""

    misses: int = 0
    """Probes without an answer since the last answer."""
    beats: int = 0
    """Answers in a row since it was found frozen."""
    is_frozen: bool = False

    @property
    def is_suspect(self) -> bool:
        return self.misses > 0 and not self.is_frozen

    def answered(self) -> Pulse:
        if not self.is_frozen or self.beats + 1 >= BEATS:
            return Pulse()
        return Pulse(beats=self.beats + 1, is_frozen=True)

    def silent(self) -> Pulse:
        misses = self.misses + 1
        return Pulse(misses=misses, is_frozen=self.is_frozen or misses >= MISSES)


def next_probe_s(pulse: Pulse, every_s: float, chance: float) -> float:
    """Seconds until the next probe; `chance` (0 to 1) spreads a fleet's probes over the interval."""
    if pulse.is_suspect:
        return 0.0
    if pulse.is_frozen:
        return min(every_s, FROZEN_EVERY_S)
    return every_s * (0.8 + 0.2 * chance)
