"""Rollout steps by table; random orders of everything are in reconcile/test_rollouts.py."""

from __future__ import annotations

import pytest

from dynamo_operator.plan.rollout import Generation, Limits, Roll, limits, serving_hash, targets
from dynamo_operator.render import names

ONE_SURGE = Limits(surge=1, unavailable=0)
ONE_LESS = Limits(surge=0, unavailable=1)


def a_generation(hash8: str, replicas: int, available: int | None = None, component: str = "w") -> Generation:
    return Generation(f"{component}-{hash8}", hash8, replicas, replicas, replicas if available is None else available)


def a_roll(limits: Limits, new: Generation, *old: Generation, desired: int = 4, component: str = "w") -> Roll:
    return Roll(component, desired, limits, new, old)


@pytest.mark.parametrize(
    ("desired", "surge", "unavailable", "expected"),
    [
        pytest.param(4, None, None, (1, 1), id="default-quarter"),
        pytest.param(1, None, None, (1, 0), id="surge-up-unavailable-down"),
        pytest.param(10, "15%", "15%", (2, 1), id="percent"),
        pytest.param(4, "0", "0", (0, 1), id="never-both-nothing"),
        pytest.param(4, "0%", "20%", (0, 1), id="rounded-to-nothing"),
        pytest.param(4, "2", "9", (2, 4), id="no-more-than-all"),
        pytest.param(4, "-1", "many", (1, 1), id="nonsense-is-the-default"),
    ],
)
def test_limits_follow_annotations(
    desired: int, surge: str | None, unavailable: str | None, expected: tuple[int, int]
) -> None:
    given = {names.MAX_SURGE: surge, names.MAX_UNAVAILABLE: unavailable}
    found = limits(desired, {name: text for name, text in given.items() if text is not None})
    assert (found.surge, found.unavailable) == expected


def test_without_older_generations_all_replicas_are_wanted_at_once() -> None:
    assert targets([a_roll(ONE_SURGE, a_generation("b", 0))]) == {"w-b": 4}


@pytest.mark.parametrize(
    ("limits", "new", "old", "expected"),
    [
        pytest.param(ONE_SURGE, a_generation("b", 0), a_generation("a", 4), (1, 4), id="surge-first"),
        pytest.param(ONE_SURGE, a_generation("b", 1, 0), a_generation("a", 4), (1, 4), id="new-is-not-there-yet"),
        pytest.param(ONE_SURGE, a_generation("b", 1), a_generation("a", 4), (1, 3), id="one-for-one"),
        pytest.param(ONE_LESS, a_generation("b", 0), a_generation("a", 4), (0, 3), id="room-first"),
        pytest.param(ONE_LESS, a_generation("b", 0), a_generation("a", 3), (1, 3), id="then-the-new"),
        pytest.param(ONE_SURGE, a_generation("b", 1), a_generation("a", 4, 0), (1, 3), id="idle-old-makes-room"),
        pytest.param(ONE_SURGE, a_generation("b", 4), a_generation("a", 1), (4, 0), id="the-last-one"),
    ],
)
def test_one_step(limits: Limits, new: Generation, old: Generation, expected: tuple[int, int]) -> None:
    found = targets([a_roll(limits, new, old)])
    assert (found[new.name], found[old.name]) == expected


def test_pods_that_still_end_take_room() -> None:
    ending = Generation("w-a", "a", replicas=3, pods=4, available=3)
    assert targets([a_roll(ONE_SURGE, a_generation("b", 1), ending)])["w-b"] == 1


def test_generation_that_cannot_serve_goes_before_an_older_one_that_does() -> None:
    decode = a_roll(
        ONE_SURGE,
        a_generation("c", 0, component="d"),
        a_generation("a", 4, component="d"),
        a_generation("b", 1, component="d"),
        component="d",
    )
    prefill = a_roll(
        ONE_SURGE,
        a_generation("c", 0, component="p"),
        a_generation("a", 4, component="p"),
        a_generation("b", 1, 0, component="p"),
        component="p",
    )
    found = targets([decode, prefill])
    assert (found["d-a"], found["d-b"]) == (4, 0)


def test_serving_generation_stays_the_old_one_until_it_has_no_workers() -> None:
    assert serving_hash([a_roll(ONE_SURGE, a_generation("b", 4), a_generation("a", 1))]) == "a"
    assert serving_hash([a_roll(ONE_SURGE, a_generation("b", 4), a_generation("a", 1, 0))]) == "b"
    assert serving_hash([a_roll(ONE_SURGE, a_generation("b", 4))]) == "b"


def test_recreate_ends_all_before_it_starts_any() -> None:
    recreate = Limits(1, 0, is_recreate=True)
    ending = Generation("w-a", "a", 0, 0, 0, has_pods=True)
    assert targets([a_roll(recreate, a_generation("b", 0), a_generation("a", 4))]) == {"w-a": 0, "w-b": 0}
    assert targets([a_roll(recreate, a_generation("b", 0), ending)]) == {"w-a": 0, "w-b": 0}
    assert targets([a_roll(recreate, a_generation("b", 0), a_generation("a", 0))]) == {"w-a": 0, "w-b": 4}
