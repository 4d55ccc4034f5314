"""Which of many passes go first, and how often those that only tell a status come."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import pytest

from dynamo_operator.handlers.queue import SLACK_CAP_S, Queue
from dynamo_operator.kube import Conflict, Ref
from dynamo_operator.reconcile import Outcome, Priority
from tests.unit.operator_plane.handlers.passes import DEADLINE_S, Passes, started, work


@dataclass
class Crowd:
    """A queue with one place, which `blocker` holds until `open`; the first passes ask for `priorities`."""

    passes: Passes
    queue: Queue
    gate: asyncio.Event
    pressed: dict[str, list[bool]]

    async def mark(self, *names: str) -> None:
        """Returns when all of them wait for their turn."""
        before = self.queue.depth
        self.queue.mark_all(work(self.passes, name) for name in names)
        async with asyncio.timeout(DEADLINE_S):
            while self.queue.depth < before + len(names):  # noqa: ASYNC110  the queue tells nobody of marks
                await asyncio.sleep(0.01)

    async def until_passed(self, count: int) -> list[str]:
        """The names in the order of their passes, without the blocker."""
        self.gate.set()
        await self.passes.until(lambda: len(self.passes.ended) == count + 1)
        assert await self.queue.drain(DEADLINE_S)
        return self.passes.begun[1:]


async def a_crowd(priorities: dict[str, Priority], **options: object) -> Crowd:
    """Those with a priority have had the pass that asked for it."""
    gate = asyncio.Event()
    pressed: dict[str, list[bool]] = {}

    async def pass_once(root: Ref) -> Outcome:
        pressed.setdefault(root.name, []).append(queue.is_pressed(root))
        if root.name == "blocker":
            await gate.wait()
        return Outcome(priority=priorities.get(root.name, Priority.CHANGES))

    passes = Passes(pass_once)
    queue = started(passes, concurrency=1, **options)
    queue.mark_all(work(passes, name) for name in priorities)
    await passes.until(lambda: len(passes.ended) == len(priorities))
    passes.begun.clear()
    passes.ended.clear()
    pressed.clear()
    queue.mark(work(passes, "blocker"))
    await passes.until(lambda: passes.running == 1)
    return Crowd(passes, queue, gate, pressed)


LATE = {"status": Priority.STATUS, "pods": Priority.PODS}


async def test_changes_go_before_pods_and_pods_before_statuses() -> None:
    crowd = await a_crowd(LATE)
    await crowd.mark("status")
    await crowd.mark("pods", "one", "two")

    assert await crowd.until_passed(4) == ["one", "two", "pods", "status"]


async def test_what_has_waited_for_long_goes_first() -> None:
    crowd = await a_crowd(LATE, patience_s=0.0)
    await crowd.mark("status")
    await crowd.mark("pods", "one", "two")

    assert await crowd.until_passed(4) == ["status", "pods", "one", "two"]


async def test_marks_do_not_shorten_how_long_a_root_has_waited() -> None:
    crowd = await a_crowd(LATE, patience_s=0.05)
    await crowd.mark("status")
    await asyncio.sleep(0.1)
    await crowd.mark("one")
    crowd.queue.mark(work(crowd.passes, "status"))
    crowd.queue.check()

    assert await crowd.until_passed(2) == ["status", "one"]


async def test_news_during_a_pass_wait_for_what_the_next_one_is_for() -> None:
    async def pass_once(root: Ref) -> Outcome:
        if len(passes.begun) > 1:
            return Outcome()
        queue.mark_all(work(passes, name) for name in ("pods", "one"))
        return Outcome(priority=Priority.PODS)

    passes = Passes(pass_once)
    queue = started(passes, concurrency=1)
    queue.mark(work(passes, "pods"))
    await passes.until(lambda: len(passes.ended) == 3)
    assert passes.begun == ["pods", "one", "pods"]
    await queue.drain(DEADLINE_S)


async def test_only_changes_of_others_press_a_pass() -> None:
    crowd = await a_crowd(LATE)
    assert not crowd.queue.is_pressed(work(crowd.passes, "blocker").root)
    await crowd.mark("blocker", *LATE)
    assert not crowd.queue.is_pressed(work(crowd.passes, "blocker").root)
    await crowd.mark("one")
    assert crowd.queue.is_pressed(work(crowd.passes, "blocker").root)
    await crowd.until_passed(4)


async def test_a_pass_that_has_let_others_go_before_is_pressed_no_more() -> None:
    crowd = await a_crowd(LATE, patience_s=0.0)
    await crowd.mark("pods", "one", "two")

    await crowd.until_passed(3)
    assert crowd.pressed == {"blocker": [False], "pods": [False], "one": [True], "two": [False]}


async def those_that_start(
    count: int, again_after_s: float | None = None, *, is_edit: bool = False
) -> tuple[Passes, Queue]:
    """A queue of so many roots that have had the pass after which only a status is to be told.

    News of g0 come during that pass; with `is_edit` somebody edits it.
    """

    async def start(root: Ref) -> Outcome:
        if passes.begun.count("g0") == 1 and root.name == "g0":
            queue.mark(work(passes, "g0"), is_edit=is_edit)
        return Outcome(again_after_s, Priority.STATUS)

    passes = Passes(start)
    queue = started(passes)
    queue.mark_all(work(passes, f"g{number}") for number in reversed(range(count)))
    await passes.until(lambda: len(passes.ended) == count)
    return passes, queue


async def test_news_for_a_status_come_together() -> None:
    passes, queue = await those_that_start(20)  # g0 is looked at again a second later
    for _ in range(3):
        queue.mark(work(passes, "g0"))
        queue.check()
        assert queue.depth == 0
        await asyncio.sleep(0.02)
    await passes.until(lambda: passes.begun.count("g0") == 2)
    await asyncio.sleep(0.1)
    assert len(passes.ended) == 21
    await queue.drain(DEADLINE_S)


@pytest.mark.parametrize("name", ["g0", "g1"])
async def test_the_more_roots_start_the_less_often_each_is_looked_at(name: str) -> None:
    passes, queue = await those_that_start(90)
    if name == "g1":
        queue.mark(work(passes, name))
    await asyncio.sleep(0.2)  # of four and a half seconds that so many wait; one alone waits for 0.05
    assert passes.begun.count(name) == 1
    await queue.drain(DEADLINE_S)


@pytest.mark.parametrize("name", ["g0", "g1"])
async def test_news_for_a_status_keep_nobody_from_coming_back_as_it_asked_to(name: str) -> None:
    passes, queue = await those_that_start(120, again_after_s=1.0)  # who would wait for six seconds
    if name == "g1":
        queue.mark(work(passes, name))
    await passes.until(lambda: passes.begun.count(name) == 2)
    await queue.drain(DEADLINE_S)


@pytest.mark.parametrize("name", ["g0", "g1"])
async def test_an_edit_is_heeded_at_once_however_many_roots_start(name: str) -> None:
    passes, queue = await those_that_start(400, is_edit=name == "g0")  # news for a status wait for ten seconds
    if name == "g1":
        queue.mark(work(passes, name))
        queue.mark(work(passes, name), is_edit=True)
        queue.check()
    await passes.until(lambda: passes.begun.count(name) == 2)
    assert queue.priority(work(passes, name)) is Priority.STATUS, "one pass heeds an edit"
    await queue.drain(DEADLINE_S)


async def test_an_edit_goes_before_pods_and_statuses() -> None:
    crowd = await a_crowd({"status": Priority.STATUS, **LATE})
    await crowd.mark("pods")
    crowd.queue.mark(work(crowd.passes, "status"), is_edit=True)

    assert await crowd.until_passed(2) == ["status", "pods"]


async def test_a_process_that_no_longer_leads_forgets_edits() -> None:
    crowd = await a_crowd(LATE)
    crowd.queue.mark(work(crowd.passes, "status"), is_edit=True)
    crowd.queue.pause()
    crowd.queue.check()
    await crowd.until_passed(0)


async def test_an_edit_of_one_that_let_others_go_before_does_not_press_it_again() -> None:
    async def pass_once(root: Ref) -> Outcome:
        if passes.begun.count("one") == 2:
            queue.mark(work(passes, "one"), is_edit=True)
            queue.mark(work(passes, "two"))
            pressed.append(queue.is_pressed(root))
        return Outcome(priority=Priority.PODS if len(passes.begun) == 1 else Priority.CHANGES)

    pressed: list[bool] = []
    passes = Passes(pass_once)
    queue = started(passes, concurrency=1)
    queue.mark(work(passes, "one"))
    await passes.until(lambda: len(passes.ended) == 1)
    queue.mark(work(passes, "one"))
    await passes.until(lambda: len(passes.ended) == 4)
    assert pressed == [False]


@pytest.mark.parametrize(("count", "slack_s"), [(1, 0.25), (50, 12.5), (1500, SLACK_CAP_S)])
async def test_slack_grows_with_the_roots_that_start_and_ends_with_them(count: int, slack_s: float) -> None:
    _, queue = await those_that_start(count)
    assert queue.slack_s() == slack_s
    await queue.drain(DEADLINE_S)
    assert queue.slack_s() == 0.0


async def test_news_during_a_pass_that_makes_changes_are_not_put_off() -> None:
    async def start(_: Ref) -> Outcome:
        if len(passes.begun) == 1:
            return Outcome(priority=Priority.STATUS)
        if len(passes.begun) == 2:
            queue.mark(work(passes))
        return Outcome(again_after_s=60.0)

    passes = Passes(start)
    queue = started(passes)
    queue.mark(work(passes))
    await passes.until(lambda: len(passes.ended) == 1)
    queue.mark(work(passes))
    await passes.until(lambda: len(passes.ended) == 3)
    await queue.drain(DEADLINE_S)


async def test_a_failed_pass_and_a_new_leader_forget_what_was_asked_for() -> None:
    async def fail_second(root: Ref) -> Outcome:
        if passes.begun.count(root.name) == 2:
            raise Conflict("stale")
        return Outcome(priority=Priority.STATUS)

    passes = Passes(fail_second)
    queue = started(passes)
    queue.mark(work(passes))
    await passes.until(lambda: len(passes.ended) == 1)
    assert queue.priority(work(passes)) is Priority.STATUS
    queue.mark(work(passes))
    await passes.until(lambda: len(passes.ended) == 2)
    assert queue.priority(work(passes)) is Priority.CHANGES
    await passes.until(lambda: len(passes.ended) == 3)
    assert queue.priority(work(passes)) is Priority.STATUS
    queue.pause()
    assert queue.priority(work(passes)) is Priority.CHANGES
