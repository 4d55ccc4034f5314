"""Picks one of several costs, and one of several loads. Pure but for the random source, which is an argument."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence


def cheapest(costs: Sequence[float], temperature: float, rng: random.Random) -> int:
    """Position of the chosen cost. Temperature 0: the least, ties evenly at random.

    Above 0 the costs are scaled to 0..1 and drawn from softmax(-cost / temperature), so that one temperature means the
    same at every size of fleet and prompt.
    """
    least, most = min(costs), max(costs)
    if temperature <= 0 or least == most:
        ties = [position for position, cost in enumerate(costs) if cost == least]
        return ties[0] if len(ties) == 1 else rng.choice(ties)
    spread = (most - least) * temperature
    odds = [math.exp((least - cost) / spread) for cost in costs]
    return rng.choices(range(len(costs)), weights=odds)[0]


def two_choices(loads: Sequence[int], rng: random.Random) -> int:
    """Position of the less loaded of two drawn at random."""
    if len(loads) == 1:
        return 0
    one, other = rng.sample(range(len(loads)), 2)
    return one if loads[one] <= loads[other] else other


def next_in_turn(ids: Sequence[tuple[int, int]], last: tuple[int, int] | None) -> int:
    """Position of the smallest id after `last`, or of the smallest: rounds stay even when workers come and go."""
    after = [position for position, candidate in enumerate(ids) if last is not None and candidate > last]
    return min(after or range(len(ids)), key=lambda position: ids[position])
