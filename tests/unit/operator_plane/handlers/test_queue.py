"""Passes: one at a time per root, bounded, coalesced, retried, drained."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import pytest

from dynamo_operator.handlers.backoff import CAP_S, CONFLICT_CAP_S, HOPELESS_CAP_S, retry_delay_s
from dynamo_operator.handlers.queue import Queue, Work
from dynamo_operator.kube import Conflict, Deposed, Forbidden, Invalid, Kind, Live, Ref, Throttled, Unreachable
from dynamo_operator.kube.objects import GRAPH
from dynamo_operator.reconcile import Outcome, Priority, Store

DEADLINE_S = 5.0


@dataclass(eq=False)
class Passes:
    """A controller whose passes do what `do` says, and an observer of them."""

    do: Callable[[Ref], Awaitable[Outcome]] | None = None
    begun: list[str] = field(default_factory=list)
    ended: list[tuple[str, str]] = field(default_factory=list)
    news: asyncio.Condition = field(default_factory=asyncio.Condition)
    running: int = 0
    most_running: int = 0
    root_kind: Kind = GRAPH
    watched_kinds: tuple[Kind, ...] = (GRAPH,)

    def roots_of(self, live: Live, store: Store) -> tuple[Ref, ...]:
        return (live.ref,)

    async def reconcile(self, root: Ref) -> Outcome:
        self.begun.append(root.name)
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        await self._tell()
        try:
            return await self.do(root) if self.do else Outcome()
        finally:
            self.running -= 1
            await self._tell()

    def passed(self, root: Ref, duration_s: float, error: Exception | None, *, is_requeued: bool) -> None:
        self.ended.append((root.name, type(error).__name__ if error else "requeue" if is_requeued else "success"))

    async def _tell(self) -> None:
        async with self.news:
            self.news.notify_all()

    async def until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(DEADLINE_S), self.news:
            await self.news.wait_for(holds)


def work(passes: Passes, name: str = "g", namespace: str = "shop") -> Work:
    return Work(passes, Ref(GRAPH, namespace, name))


def started(passes: Passes, **options: object) -> Queue:
    queue = Queue(passes, **options)  # type: ignore[arg-type]
    queue.resume([])
    return queue


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


async def test_marks_do_not_shorten_what_the_server_asked_to_wait() -> None:
    async def throttle(_: Ref) -> Outcome:
        raise Throttled("slow down", 60)

    passes = Passes(throttle)
    queue = started(passes)
    queue.mark(work(passes))
    await passes.until(lambda: passes.ended != [])
    queue.mark(work(passes))
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


async def those_that_start(count: int, again_after_s: float | None = None) -> tuple[Passes, Queue]:
    """A queue of so many roots that have had the pass after which only a status is to be told.

    News of g0 come during that pass.
    """

    async def start(root: Ref) -> Outcome:
        if passes.begun.count("g0") == 1 and root.name == "g0":
            queue.mark(work(passes, "g0"))
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
