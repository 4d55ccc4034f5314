"""Passes: one at a time per root, bounded, coalesced, retried, drained."""

from __future__ import annotations

import asyncio

import pytest

from dynamo_operator.handlers.backoff import CAP_S, CONFLICT_CAP_S, HOPELESS_CAP_S, retry_delay_s
from dynamo_operator.handlers.queue import Queue
from dynamo_operator.kube import Conflict, Deposed, Forbidden, Invalid, Ref, Throttled, Unreachable
from dynamo_operator.reconcile import Outcome
from tests.unit.operator_plane.handlers.passes import DEADLINE_S, Passes, started, work


async def test_marks_during_a_pass_make_one_more_pass() -> None:
    gate = asyncio.Event()

    async def wait(_: Ref) -> Outcome:
        await gate.wait()
        return Outcome()

    passes = Passes(wait)
    queue = started(passes)
    queue.mark(work(passes))
    await passes.until(lambda: passes.running == 1)
    for _ in range(5):
        queue.mark(work(passes))
        queue.check()
    gate.set()
    await passes.until(lambda: len(passes.begun) == 2 and passes.running == 0)
    assert await queue.drain(DEADLINE_S)
    assert passes.begun == ["g", "g"]
    assert passes.most_running == 1


async def test_no_more_passes_at_once_than_allowed() -> None:
    gate = asyncio.Event()

    async def wait(_: Ref) -> Outcome:
        await gate.wait()
        return Outcome()

    passes = Passes(wait)
    queue = started(passes, concurrency=3)
    queue.mark_all(work(passes, f"g{number}") for number in range(10))
    await passes.until(lambda: passes.running == 3)
    queue.check()
    assert queue.depth == 7
    gate.set()
    await passes.until(lambda: len(passes.begun) == 10 and passes.running == 0)
    assert passes.most_running == 3


async def test_a_crash_in_one_root_leaves_others_alone(caplog: pytest.LogCaptureFixture) -> None:
    async def crash(root: Ref) -> Outcome:
        if root.name == "bad":
            raise ZeroDivisionError("by zero")
        return Outcome()

    passes = Passes(crash)
    queue = started(passes)
    queue.mark_all([work(passes, "bad"), work(passes, "good")])
    await passes.until(lambda: {"bad", "good"} <= set(passes.begun) and passes.running == 0)
    await queue.drain(DEADLINE_S)
    assert ("good", "success") in passes.ended
    assert ("bad", "ZeroDivisionError") in passes.ended
    assert [record.message for record in caplog.records if "reconcile_crashed" in record.message]


@pytest.mark.parametrize("error", [Conflict("stale"), Unreachable("gone"), RuntimeError("bug")], ids=repr)
async def test_a_failed_pass_is_tried_again(error: Exception) -> None:
    async def fail_once(_: Ref) -> Outcome:
        if len(passes.begun) == 1:
            raise error
        return Outcome()

    passes = Passes(fail_once)
    queue = started(passes)
    queue.mark(work(passes))
    await passes.until(lambda: len(passes.begun) == 2 and passes.running == 0)
    await queue.drain(DEADLINE_S)
    assert passes.ended[-1] == ("g", "success")


async def test_a_pass_comes_back_when_it_asked_to() -> None:
    async def ask(_: Ref) -> Outcome:
        return Outcome(again_after_s=0.01 if len(passes.begun) == 1 else None)

    passes = Passes(ask)
    queue = started(passes)
    queue.mark(work(passes))
    await passes.until(lambda: len(passes.begun) == 2 and passes.running == 0)
    await queue.drain(DEADLINE_S)
    assert passes.ended == [("g", "requeue"), ("g", "success")]


@pytest.mark.parametrize("is_edit", [False, True])
async def test_marks_do_not_shorten_what_the_server_asked_to_wait(is_edit: bool) -> None:
    async def throttle(_: Ref) -> Outcome:
        queue.mark(work(passes), is_edit=is_edit)
        raise Throttled("slow down", 60)

    passes = Passes(throttle)
    queue = started(passes)
    queue.mark(work(passes))
    await passes.until(lambda: passes.ended != [])
    queue.mark(work(passes), is_edit=is_edit)
    queue.check()
    await queue.drain(DEADLINE_S)
    assert passes.begun == ["g"]


async def test_a_deposed_pass_is_left_to_the_next_leader() -> None:
    async def deposed(_: Ref) -> Outcome:
        raise Deposed("another leads")

    passes = Passes(deposed)
    queue = started(passes)
    queue.mark(work(passes))
    await passes.until(lambda: passes.begun != [] and passes.running == 0)
    await queue.drain(DEADLINE_S)
    assert passes.ended == []


async def test_a_pass_that_never_ends_is_ended() -> None:
    async def hang(_: Ref) -> Outcome:
        await asyncio.Event().wait()
        raise AssertionError

    passes = Passes(hang)
    queue = started(passes, pass_deadline_s=0.01)
    queue.mark(work(passes))
    await passes.until(lambda: passes.begun != [] and passes.running == 0)
    await queue.drain(DEADLINE_S)
    assert passes.ended[0] == ("g", "TimeoutError")


async def test_nothing_runs_while_paused() -> None:
    passes = Passes()
    queue = Queue(passes)
    queue.mark(work(passes))
    assert queue.depth == 0
    queue.resume([work(passes, "found-on-resume")])
    await passes.until(lambda: passes.begun != [] and passes.running == 0)
    queue.pause()
    queue.mark(work(passes))
    queue.check()
    await queue.drain(DEADLINE_S)
    assert passes.begun == ["found-on-resume"]


async def test_roots_that_are_not_admitted_are_dropped() -> None:
    passes = Passes()
    queue = started(passes, admits=lambda root: root.namespace != "claimed")
    queue.mark_all([work(passes, "theirs", "claimed"), work(passes, "ours")])
    await passes.until(lambda: passes.begun != [] and passes.running == 0)
    assert await queue.drain(DEADLINE_S)
    assert passes.begun == ["ours"]


async def test_drain_lets_a_pass_finish_and_starts_none() -> None:
    gate = asyncio.Event()

    async def wait(_: Ref) -> Outcome:
        await gate.wait()
        return Outcome()

    passes = Passes(wait)
    queue = started(passes, concurrency=1)
    queue.mark_all([work(passes, "running"), work(passes, "waiting")])
    await passes.until(lambda: passes.running == 1)
    draining = asyncio.create_task(queue.drain(DEADLINE_S))
    await asyncio.sleep(0)
    gate.set()
    assert await draining
    assert passes.ended == [("running", "success")]


async def test_drain_cancels_what_does_not_finish() -> None:
    async def hang(_: Ref) -> Outcome:
        await asyncio.Event().wait()
        raise AssertionError

    passes = Passes(hang)
    queue = started(passes)
    queue.mark(work(passes))
    await passes.until(lambda: passes.running == 1)
    assert not await queue.drain(0.01)
    assert passes.running == 0


@pytest.mark.parametrize(
    ("error", "failures", "expected_s"),
    [
        pytest.param(Conflict("x"), 1, 0.05, id="first-conflict-is-quick"),
        pytest.param(Conflict("x"), 30, CONFLICT_CAP_S, id="conflicts-stay-quick"),
        pytest.param(Unreachable("x"), 1, 0.5, id="first-failure"),
        pytest.param(Unreachable("x"), 4, 4.0, id="doubling"),
        pytest.param(Unreachable("x"), 10_000, CAP_S, id="capped"),
        pytest.param(ValueError("x"), 10_000, CAP_S, id="a-bug-is-capped-alike"),
        pytest.param(Invalid("x"), 100, HOPELESS_CAP_S, id="refused"),
        pytest.param(Forbidden("x"), 100, HOPELESS_CAP_S, id="forbidden"),
        pytest.param(Throttled("x", 42), 1, 42.0, id="the-server-decides"),
        pytest.param(Throttled("x", 1), 4, 4.0, id="the-server-asks-for-less"),
    ],
)
def test_delays_grow_and_end(error: Exception, failures: int, expected_s: float) -> None:
    assert retry_delay_s(error, failures) == expected_s
