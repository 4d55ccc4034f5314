from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynamo.router.config import QueuePolicy
from dynamo.router.queue import Waiting, WaitQueue


def order(policy: QueuePolicy, *requests: Waiting) -> list[str]:
    queue = WaitQueue(policy)
    for request in requests:
        queue.push(request, lambda: None)
    return _drain(queue)


def _drain(queue: WaitQueue) -> list[str]:
    found = []
    while (turn := queue.pop()) is not None:
        found.append(turn[0])
    return found


@pytest.mark.parametrize(
    ("policy", "requests", "expected"),
    [
        pytest.param(
            QueuePolicy.FCFS,
            [Waiting("late", 2.0, 1), Waiting("early", 1.0, 999)],
            ["early", "late"],
            id="fcfs-by-arrival",
        ),
        pytest.param(
            QueuePolicy.FCFS,
            [Waiting("early", 1.0, 1), Waiting("urgent", 5.0, 1, priority=4.5)],
            ["urgent", "early"],
            id="fcfs-priority-is-seconds-earlier",
        ),
        pytest.param(
            QueuePolicy.WSPT,
            [Waiting("long", 1.0, 999), Waiting("short", 2.0, 10)],
            ["short", "long"],
            id="wspt-short-first",
        ),
        pytest.param(
            QueuePolicy.WSPT,
            [Waiting("short", 1.0, 10), Waiting("heavy", 2.0, 30, priority=4.0)],
            ["heavy", "short"],
            id="wspt-priority-divides-work",
        ),
        pytest.param(
            QueuePolicy.WSPT,
            [Waiting("short", 1.0, 1), Waiting("strict", 2.0, 999, strict_priority=1)],
            ["strict", "short"],
            id="strict-priority-before-all",
        ),
        pytest.param(
            QueuePolicy.WSPT,
            [Waiting("first", 1.0, 10), Waiting("second", 2.0, 10)],
            ["first", "second"],
            id="ties-by-arrival",
        ),
    ],
)
def test_order(policy: QueuePolicy, requests: list[Waiting], expected: list[str]) -> None:
    assert order(policy, *requests) == expected


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 9)), max_size=200))
def test_everybody_who_stays_gets_a_turn_once(steps: list[tuple[bool, int]]) -> None:
    queue = WaitQueue(QueuePolicy.FCFS)
    waiting: set[str] = set()
    for number, (pushes, who) in enumerate(steps):
        if pushes:
            queue.push(Waiting(str(who), float(number), 1), lambda: None)
            waiting.add(str(who))
        else:
            assert queue.abandon(str(who)) == (str(who) in waiting)
            waiting.discard(str(who))
        assert len(queue) == len(waiting)
    assert sorted(_drain(queue)) == sorted(waiting)


def test_abandoned_places_do_not_pile_up() -> None:
    queue = WaitQueue(QueuePolicy.FCFS)
    for number in range(10_000):
        queue.push(Waiting(str(number), float(number), 1), lambda: None)
        queue.abandon(str(number))
    assert len(queue._heap) < 200
