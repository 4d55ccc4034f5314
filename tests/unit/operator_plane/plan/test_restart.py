"""Restarts, step by step."""

from __future__ import annotations

from typing import Any

import pytest

from dynamo_operator.plan.restart import Progress, RestartSpec, restart_spec, restart_step

OLD = Progress(None, is_ready=True)
DONE = Progress("1", is_ready=True)
BUSY = Progress("1", is_ready=False)
STUCK = Progress("1", is_ready=False, is_stuck=True)


def step(components: dict[str, Progress], *, previous: Any = None, is_rolling: bool = False, **spec: Any) -> Any:
    wanted = RestartSpec("1", spec.get("is_parallel", False), spec.get("order", ()))
    return restart_step(wanted, previous, components, is_rolling=is_rolling)


@pytest.mark.parametrize(
    ("components", "order", "ids", "phase", "in_progress"),
    [
        pytest.param({"b": OLD, "a": OLD}, (), {"a": "1"}, "Restarting", ["a"], id="by-name"),
        pytest.param({"a": OLD, "b": OLD}, ("b", "a"), {"b": "1"}, "Restarting", ["b"], id="as-given"),
        pytest.param({"a": BUSY, "b": OLD}, (), {"a": "1"}, "Restarting", ["a"], id="waits-for-the-first"),
        pytest.param({"a": DONE, "b": OLD}, (), {"a": "1", "b": "1"}, "Restarting", ["b"], id="then-the-next"),
        pytest.param({"a": DONE, "b": DONE}, (), {"a": "1", "b": "1"}, "Completed", None, id="all-done"),
        pytest.param({"a": STUCK, "b": OLD}, (), {"a": "1"}, "Failed", ["a"], id="does-not-come-back"),
        pytest.param(
            {"a": BUSY, "b": BUSY, "c": OLD}, (), {"a": "1", "b": "1"}, "Restarting", ["a", "b"], id="one-falls-back"
        ),
        pytest.param({"a": OLD, "b": OLD}, ("b",), {"b": "1"}, "Restarting", ["b"], id="order-names-some"),
    ],
)
def test_sequential(components: Any, order: Any, ids: Any, phase: str, in_progress: Any) -> None:
    found = step(components, order=order)
    assert found.ids == ids
    assert found.status == {"observedID": "1", "phase": phase} | ({"inProgress": in_progress} if in_progress else {})


@pytest.mark.parametrize(
    ("told", "components", "in_progress"),
    [
        pytest.param(["b"], {"a": BUSY, "b": BUSY, "c": OLD}, ["b"], id="unready-after-its-turn"),
        pytest.param(["b"], {"a": BUSY, "b": DONE, "c": OLD}, ["a"], id="and-waited-for-before-the-next"),
        pytest.param(["a"], {"a": DONE, "b": BUSY, "c": OLD}, ["b"], id="begun-but-not-told"),
        pytest.param([], {"a": BUSY, "b": BUSY, "c": OLD}, ["a", "b"], id="nothing-told"),
    ],
)
def test_told_are_those_whose_turn_it_is(told: list[str], components: Any, in_progress: list[str]) -> None:
    found = step(components, previous={"observedID": "1", "phase": "Restarting", "inProgress": told})
    assert found.status["inProgress"] == in_progress
    assert "c" not in found.ids


def test_parallel_restarts_all_at_once() -> None:
    found = step({"a": OLD, "b": OLD}, is_parallel=True)
    assert found.ids == {"a": "1", "b": "1"}
    assert found.status["inProgress"] == ["a", "b"]


def test_rollout_supersedes_a_restart() -> None:
    found = step({"a": OLD}, is_rolling=True)
    assert (found.ids, found.status["phase"]) == ({}, "Superseded")


@pytest.mark.parametrize("phase", ["Completed", "Superseded", "Failed"])
def test_ended_restart_is_not_begun_again(phase: str) -> None:
    previous = {"observedID": "1", "phase": phase}
    assert step({"a": OLD}, previous=previous).ids == {}
    assert step({"a": OLD}, previous={**previous, "observedID": "0"}).ids == {"a": "1"}


def test_pods_keep_the_restart_that_made_them() -> None:
    found = restart_step(None, {"observedID": "1", "phase": "Completed"}, {"a": DONE, "b": OLD}, is_rolling=False)
    assert found.ids == {"a": "1"}


@pytest.mark.parametrize("phase", ["Completed", "Superseded", "Failed"])
def test_an_ended_restart_is_told_after_its_block_is_gone(phase: str) -> None:
    previous = {"observedID": "1", "phase": phase}
    assert restart_step(None, previous, {"a": DONE}, is_rolling=False).status == previous


@pytest.mark.parametrize("previous", [None, {"observedID": "1", "phase": "Restarting", "inProgress": ["a"]}])
def test_a_restart_that_is_called_off_is_not_told(previous: dict[str, Any] | None) -> None:
    assert restart_step(None, previous, {"a": DONE}, is_rolling=False).status is None


def test_block_without_id_asks_for_nothing() -> None:
    assert restart_spec({"spec": {"restart": {"strategy": {"type": "Parallel"}}}}) is None
    assert restart_spec({"spec": {}}) is None
