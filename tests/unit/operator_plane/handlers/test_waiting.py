"""Whose turn it is, of those that wait."""

from __future__ import annotations

from dynamo_operator.handlers.waiting import Waiting
from dynamo_operator.reconcile import Priority

NEVER = float("-inf")


def waiting(*items: tuple[str, Priority, float]) -> Waiting[str]:
    made = Waiting[str]()
    for item, priority, since_s in items:
        made.put(item, priority, since_s)
    return made


def turns(made: Waiting[str], overdue_s: float = NEVER, busy: frozenset[str] = frozenset()) -> list[str]:
    found = []
    while (item := made.take(busy, overdue_s)) is not None:
        found.append(item)
    return found


MIXED = (
    ("status", Priority.STATUS, 1.0),
    ("pods", Priority.PODS, 2.0),
    ("first", Priority.CHANGES, 3.0),
    ("second", Priority.CHANGES, 4.0),
)


def test_by_priority_and_then_by_age() -> None:
    assert turns(waiting(*MIXED)) == ["first", "second", "pods", "status"]


def test_what_waits_too_long_goes_first_eldest_first() -> None:
    assert turns(waiting(*MIXED), overdue_s=2.0) == ["status", "pods", "first", "second"]
    assert turns(waiting(*MIXED), overdue_s=1.9) == ["status", "first", "second", "pods"]


def test_the_busy_stay_where_they_are() -> None:
    made = waiting(*MIXED)
    assert turns(made, busy=frozenset({"first", "status"})) == ["second", "pods"]
    assert list(made) == ["first", "status"]
    assert turns(made) == ["first", "status"]


def test_nobody_waits_twice_and_who_waits_keeps_its_moment() -> None:
    made = waiting(*MIXED)
    made.put("first", Priority.CHANGES, 9.0)
    made.put("status", Priority.PODS, 9.0)
    assert len(made) == 4
    assert list(made.of(Priority.PODS)) == ["pods", "status"]
    assert made.drop("status") == 1.0
    assert made.drop("status") is None
    assert "status" not in made
    assert turns(made) == ["first", "second", "pods"]
