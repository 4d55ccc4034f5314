"""When a prefix that one worker has cached is worth having on a second one too.

A copy costs its prefill, and the room of something else. It pays when the holder cannot take the requests that want the
prefix, or when the prefix is such a load of its own that one worker would do the work of several. So the price of a
copied block, as `cost` weighs it, is

    0                  while every holder is saturated (prefill backlog of several engine steps, KV blocks nearly all in
                       use, or all sequence slots taken): the prefix spreads
    duplicate_weight   else: the prefix stays where it is, whatever other load is there
    -WAIVED            for a crowd: the copy's prefill and its blocks are waived, it will serve a fair share of requests

The holder is the one with the longest overlap, of equals the one with the fewest users. A crowd is as many running
requests that share the prefix there as a worker's fair share of all running requests (FEW_REQUESTS at least), between
half of that and all of it the price falls linearly. And the prefix must have proven lasting: LASTING_REUSES requests
came for it, of which each copy uses up REUSES_PER_COPY, unless MANY_REQUESTS run at once. Otherwise prefixes that are
popular for a moment (groups of 40 requests, one group after another) would all be copied everywhere.

`Reuses` counts; the rest is pure. Called by `sight` and the router.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence

import numpy as np

from dynamo.router.config import CostWeights
from dynamo.router.cost import Candidates, Copies

FEW_REQUESTS = 4
"""A worker with fewer running requests than this needs no relief, whatever its share of the fleet's."""
MANY_REQUESTS = 32
"""So many requests with one prefix on one worker are worth splitting at once."""
LASTING_REUSES = 64
REUSES_PER_COPY = 16
WAIVED = 2.0
"""A copied block costs one block of prefill and one in use: both are waived for a prefix that is a load of its own."""
_PREFIXES_KEPT = 4096


class Reuses:
    """What speaks for copying a prefix, by its last block: requests that reused it, up to LASTING_REUSES.

    Remembers the 4,096 prefixes that were used last.
    """

    def __init__(self) -> None:
        self._counts: OrderedDict[int, int] = OrderedDict()

    def count(self, prefix: int, *, is_copied: bool) -> None:
        """A request went to a worker that has the prefix, or to one that will have it copied."""
        count = self._counts.get(prefix, 0) - (REUSES_PER_COPY if is_copied else -1)
        self._counts[prefix] = min(LASTING_REUSES, max(0, count))
        self._counts.move_to_end(prefix)
        if len(self._counts) > _PREFIXES_KEPT:
            self._counts.popitem(last=False)

    def of(self, prefix: int) -> int:
        return self._counts.get(prefix, 0)


def price_copies(
    them: Candidates,
    chain: Sequence[int],
    weights: CostWeights,
    users: Callable[[int, int], int],
    reuses: Callable[[int], int],
) -> Copies:
    """`users` (candidate's position, block) counts running requests there whose prompt has the block; `reuses` (block)
    is what `Reuses` has counted for the prefix that ends with it."""
    overlap = np.where(them.is_saturated, 0, them.device_overlap)
    held = int(overlap.max())
    if not held or not weights.duplicate or not weights.overlap_credit:
        return Copies()
    prefix = chain[held - 1]
    fair_share = int(them.requests.sum()) / len(overlap)
    holders = np.flatnonzero(overlap == held).tolist()
    relief = _relief(min(users(holder, prefix) for holder in holders), fair_share, reuses(prefix))
    price = weights.duplicate * (1 - relief) - WAIVED * relief
    return Copies(price * weights.overlap_credit, held)


def _relief(users: int, fair_share: float, reuses: int) -> float:
    """How much of a copy is waived, 0 to 1."""
    if reuses < LASTING_REUSES and users < MANY_REQUESTS:
        return 0.0
    return min(1.0, max(0.0, 2 * users / max(FEW_REQUESTS, fair_share) - 1))
