"""The GPU budget: never exceeded, never below the floors, and swaps wait for those who leave."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynamo.planner.budget import fit
from dynamo.planner.observation import Bounds, Fleet
from dynamo.wire.cards import Role

P, D = Role.PREFILL, Role.DECODE


def fleets(prefill: int, decode: int, *, costs: tuple[int, int] = (1, 1), ending: int = 0) -> dict[Role, Fleet]:
    return {
        P: Fleet(prefill, prefill, present=prefill + ending, gpus_per_replica=costs[0]),
        D: Fleet(decode, decode, gpus_per_replica=costs[1]),
    }


@pytest.mark.parametrize(
    ("wanted", "max_gpus", "given_replicas"),
    [
        pytest.param({P: 2, D: 3}, None, {P: 2, D: 3}, id="no-budget"),
        pytest.param({P: 2, D: 3}, 8, {P: 2, D: 3}, id="fits"),
        pytest.param({P: 8, D: 8}, 8, {P: 4, D: 4}, id="shared-evenly"),
        pytest.param({P: 3, D: 9}, 8, {P: 2, D: 6}, id="shared-by-need"),
        pytest.param({P: 0, D: 0}, 8, {P: 1, D: 1}, id="floors"),
    ],
)
def test_need_is_fitted(wanted: dict[Role, int], max_gpus: int | None, given_replicas: dict[Role, int]) -> None:
    fitted = fit(wanted, fleets(1, 1), Bounds({P: 1, D: 1}, max_gpus))

    assert fitted.replicas == given_replicas


def test_growth_waits_until_leavers_have_left() -> None:
    bounds = Bounds({P: 1, D: 1}, 8)

    first = fit({P: 2, D: 6}, fleets(6, 2), bounds)
    later = fit({P: 2, D: 6}, fleets(2, 2, ending=4), bounds)
    last = fit({P: 2, D: 6}, fleets(2, 2), bounds)

    assert first.replicas == {P: 2, D: 2}
    assert "leaving" in first.note
    assert later.replicas == {P: 2, D: 2}
    assert last.replicas == {P: 2, D: 6}


def test_floors_beyond_the_budget_change_nothing_and_say_so() -> None:
    fitted = fit({P: 9, D: 9}, fleets(3, 4), Bounds({P: 5, D: 5}, 8))

    assert fitted.replicas == {P: 3, D: 4}
    assert fitted.note == "the floors take 10 GPUs, max_gpu_budget is 8"


def test_least_gpus_are_kept_warm() -> None:
    assert fit({P: 1, D: 1}, fleets(1, 1), Bounds({}, 8, min_gpus=6)).replicas == {P: 3, D: 3}


@given(
    wanted=st.tuples(st.integers(0, 40), st.integers(0, 40)),
    present=st.tuples(st.integers(0, 12), st.integers(0, 12)),
    ending=st.integers(0, 6),
    costs=st.tuples(st.integers(1, 8), st.integers(1, 8)),
    floors=st.tuples(st.integers(0, 3), st.integers(0, 3)),
    gpus=st.integers(1, 64),
)
def test_budget_and_floors_hold_for_any_need(
    wanted: tuple[int, int],
    present: tuple[int, int],
    ending: int,
    costs: tuple[int, int],
    floors: tuple[int, int],
    gpus: int,
) -> None:
    found = fleets(*present, costs=costs, ending=ending)
    least = dict(zip((P, D), floors, strict=True))

    fitted = fit(dict(zip((P, D), wanted, strict=True)), found, Bounds(least, gpus)).replicas

    floor_gpus = sum(least[role] * found[role].gpus_per_replica for role in (P, D))
    if floor_gpus > gpus:
        assert fitted == {P: present[0], D: present[1]}
        return
    assert sum(fitted[role] * found[role].gpus_per_replica for role in (P, D)) <= gpus
    grown = [role for role in (P, D) if fitted[role] > found[role].desired and fitted[role] > least[role]]
    if grown:
        leaving = {role: found[role].held - min(found[role].desired, fitted[role]) for role in (P, D)}
        held = sum((fitted[role] + leaving[role]) * found[role].gpus_per_replica for role in (P, D))
        assert held <= gpus, "growth beyond the floors never overlaps with those who leave"
