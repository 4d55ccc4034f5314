"""Picks one of several costs, and one of several loads. Pure but for the random source, which is an argument."""

from __future__ import annotations

import math
import random
from bisect import bisect_right
from collections.abc import Sequence

import numpy as np

from dynamo.router.columns import Floats, Ints
from dynamo.router.fleet import Member


def cheapest(costs: Floats | Ints, temperature: float, rng: random.Random) -> int:
    """Position of the chosen cost. Temperature 0: the least, ties evenly at random.

    Above 0 the costs are scaled to 0..1 and drawn from softmax(-cost / temperature), so that one temperature means the
    same at every size of fleet and prompt.
    """
    least, most = float(costs.min()), float(costs.max())
    if temperature <= 0 or least == most:
        ties: list[int] = np.flatnonzero(costs == least).tolist()
        return ties[0] if len(ties) == 1 else rng.choice(ties)
    spread = (most - least) * temperature
    odds = [math.exp((least - cost) / spread) for cost in costs.tolist()]
    return rng.choices(range(len(odds)), weights=odds)[0]


def two_choices(loads: Ints, rng: random.Random) -> int:
    """Position of the less loaded of two drawn at random."""
    if len(loads) == 1:
        return 0
    one, other = rng.sample(range(len(loads)), 2)
    return one if loads[one] <= loads[other] else other


def next_in_turn(members: Sequence[Member], last: tuple[int, int] | None) -> int:
    """Position of the first member after id `last`, or of the first: rounds stay even when workers come and go.

    `members` are in the order of their ids (worker_id, dp_rank).
    """
    if last is None:
        return 0
    return bisect_right(members, last, key=lambda member: (member.worker_id, member.dp_rank)) % len(members)
