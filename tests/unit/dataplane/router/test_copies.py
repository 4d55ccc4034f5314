"""When a cached prefix is worth a second copy."""

from __future__ import annotations

import pytest

from dynamo.router.config import CostWeights
from dynamo.router.copies import LASTING_REUSES, REUSES_PER_COPY, Reuses, price_copies
from dynamo.router.cost import Copies
from tests.unit.dataplane.router.naive_cost import Candidate, columns

CHAIN = list(range(10))
IDLE = Candidate()


def price(
    *candidates: Candidate, users: int = 0, reuses: int = LASTING_REUSES, weights: CostWeights | None = None
) -> Copies:
    return price_copies(
        columns(candidates), CHAIN, weights or CostWeights(), lambda holder, block: users, lambda block: reuses
    )


@pytest.mark.parametrize(
    ("users", "expected"),
    [
        pytest.param(0, 8.0, id="nobody-else-uses-it"),
        pytest.param(10, 8.0, id="half-a-fair-share"),
        pytest.param(15, 3.0, id="between"),
        pytest.param(20, -2.0, id="a-fair-share"),
        pytest.param(40, -2.0, id="all-the-load"),
    ],
)
def test_copies_get_cheaper_as_the_prefix_becomes_the_load(users: int, expected: float) -> None:
    assert price(Candidate(requests=40, device_overlap=10), IDLE, users=users) == Copies(expected, 10)


def test_few_requests_need_no_relief() -> None:
    assert price(Candidate(requests=2, device_overlap=10), IDLE, users=2).price == 8.0


@pytest.mark.parametrize(
    ("users", "reuses", "expected"),
    [
        pytest.param(31, LASTING_REUSES - 1, 8.0, id="popular-for-a-moment"),
        pytest.param(31, LASTING_REUSES, -2.0, id="lasting"),
        pytest.param(32, 0, -2.0, id="too-many-at-once"),
    ],
)
def test_crowd_must_last_or_be_large(users: int, reuses: int, expected: float) -> None:
    assert price(Candidate(requests=users, device_overlap=10), IDLE, users=users, reuses=reuses).price == expected


def test_saturated_holders_make_copies_free() -> None:
    holder = Candidate(requests=3, device_overlap=10, is_saturated=True)
    assert price(holder, IDLE) == Copies()
    assert price(holder, Candidate(device_overlap=4), IDLE) == Copies(8.0, 4)


def test_least_used_of_equal_holders_counts() -> None:
    them = columns([Candidate(requests=30, device_overlap=10), Candidate(requests=1, device_overlap=10), IDLE])
    users = {0: 30, 1: 1}
    found = price_copies(them, CHAIN, CostWeights(), lambda holder, block: users[holder], lambda block: 99)
    assert found.price == 8.0


def test_without_credit_there_are_no_copies_to_price() -> None:
    assert price(Candidate(device_overlap=10), IDLE, weights=CostWeights(overlap_credit=0.0)) == Copies()
    assert price(IDLE, IDLE) == Copies()


def test_each_copy_uses_up_some_of_what_speaks_for_copying() -> None:
    reuses = Reuses()
    for _ in range(LASTING_REUSES + 9):
        reuses.count(7, is_copied=False)
    assert reuses.of(7) == LASTING_REUSES
    reuses.count(7, is_copied=True)
    assert reuses.of(7) == LASTING_REUSES - REUSES_PER_COPY
    for _ in range(9):
        reuses.count(7, is_copied=True)
    assert reuses.of(7) == 0


def test_prefixes_not_used_for_long_are_forgotten() -> None:
    reuses = Reuses()
    for prefix in range(5000):
        reuses.count(prefix, is_copied=False)
        reuses.count(0, is_copied=False)
    assert (reuses.of(0), reuses.of(1), reuses.of(4999)) == (LASTING_REUSES, 0, 1)
