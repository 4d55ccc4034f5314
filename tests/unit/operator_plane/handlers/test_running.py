"""The operator's life: whatever ends it, what runs is wound down in order."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import pytest

from dynamo_operator.handlers.feed import Feed
from dynamo_operator.handlers.neighbours import Neighbours, Wanted
from dynamo_operator.handlers.queue import Queue
from dynamo_operator.handlers.running import Operator, Parts, ServiceEnded
from dynamo_operator.handlers.store import LiveStore
from dynamo_operator.kube.objects import DEPLOYMENT, GRAPH, LEADER_WORKER_SET
from tests.unit.operator_plane.handlers.objects import packed
from tests.unit.operator_plane.handlers.test_queue import Passes
from tests.unit.operator_plane.handlers.virtual import in_virtual_time


@dataclass
class Log:
    """What happened, in order; a leader from the start, and eyes that see what the test says."""

    said: list[str] = field(default_factory=list)
    is_leading: bool = False

    async def run(self, on_change: Callable[[bool], None]) -> None:
        self.is_leading = True
        on_change(True)
        await asyncio.Event().wait()

    async def release(self) -> None:
        self.said.append("lease given back")

    def start(self) -> None:
        self.said.append("watching")

    async def stop(self) -> None:
        self.said.append("eyes closed")

    def failing_for_s(self) -> float:
        return 0.0


def an_operator(log: Log, service: Callable[[], Awaitable[None]], feed: Feed, queue: Queue) -> Operator:
    return Operator(Parts(feed=feed, queue=queue, leadership=log, watching=log, services={"neighbours": service}))


def test_a_service_that_ends_the_process_says_why_in_its_own_words_and_in_order() -> None:
    async def main() -> tuple[str, Log]:
        log, passes = Log(), Passes()
        queue = Queue(passes)
        feed = Feed(LiveStore(), queue, [passes], expected=[GRAPH])

        async def ends() -> None:
            await feed.synced.wait()
            await passes.until(lambda: passes.begun == ["g"])
            raise ServiceEnded("LeaderWorkerSet came")

        operator = an_operator(log, ends, feed, queue)
        asyncio.get_running_loop().call_soon(feed.listed, GRAPH, "", [packed("g")], 5)
        with pytest.raises(ServiceEnded) as ended:
            await operator.run(asyncio.Event())
        assert queue.is_paused
        return str(ended.value), log

    why, log = in_virtual_time(main)
    assert why == "LeaderWorkerSet came"
    assert log.said == ["watching", "lease given back", "eyes closed"]


def test_a_defect_in_a_service_is_named_with_the_service() -> None:
    async def main() -> str:
        log, passes = Log(), Passes()
        queue = Queue(passes)
        feed = Feed(LiveStore(), queue, [passes], expected=[GRAPH])

        async def breaks() -> None:
            raise OSError("address in use")

        with pytest.raises(ServiceEnded) as ended:
            await an_operator(log, breaks, feed, queue).run(asyncio.Event())
        return str(ended.value)

    assert in_virtual_time(main) == "neighbours: OSError: address in use"


class Without:
    """An API server that has lost LeaderWorkerSet since it was asked."""

    async def served(self) -> frozenset[tuple[str, str]]:
        return frozenset({(GRAPH.api_version, GRAPH.name)})


def test_a_kind_that_went_before_its_first_list_does_not_hang_the_start() -> None:
    """It never leads and never becomes ready: it ends, names the kind, and the next start does without."""

    async def main() -> tuple[str, Log, int]:
        log, passes = Log(), Passes()
        queue = Queue(passes)
        kinds = frozenset({GRAPH, LEADER_WORKER_SET})
        served = {(kind.api_version, kind.name) for kind in kinds}
        feed = Feed(LiveStore(), queue, [passes], expected=kinds)
        wanted = Wanted(kinds, frozenset({GRAPH}), frozenset())
        neighbours = Neighbours(Without(), wanted, served, unlisted=lambda: feed.unlisted)
        operator = an_operator(log, neighbours.run, feed, queue)
        asyncio.get_running_loop().call_soon(feed.listed, GRAPH, "", [packed("g")], 5)
        with pytest.raises(ServiceEnded) as ended:
            async with asyncio.timeout(300):
                await operator.run(asyncio.Event())
        return str(ended.value), log, (await operator.ready()).status

    why, log, status = in_virtual_time(main)
    assert why.startswith("LeaderWorkerSet went;")
    assert status == 503
    assert "lease given back" in log.said


def test_a_watch_that_began_anew_and_lists_everything_disturbs_nobody() -> None:
    async def main() -> bool:
        log, passes = Log(), Passes()
        queue = Queue(passes)
        kinds = frozenset({GRAPH, DEPLOYMENT})
        feed = Feed(LiveStore(), queue, [passes], expected=kinds)

        class Same:
            async def served(self) -> frozenset[tuple[str, str]]:
                return frozenset((kind.api_version, kind.name) for kind in kinds)

        wanted = Wanted(kinds, frozenset({GRAPH}), frozenset())
        neighbours = Neighbours(Same(), wanted, await Same().served(), unlisted=lambda: feed.unlisted)
        stop = asyncio.Event()
        running = asyncio.create_task(an_operator(log, neighbours.run, feed, queue).run(stop))
        for _ in range(3):
            feed.begin_anew()
            neighbours.doubt("the watches begin anew")
            for kind in kinds:
                feed.listed(kind, "", [], 5)
            await asyncio.sleep(3600)
        stop.set()
        await running
        return feed.synced.is_set()

    assert in_virtual_time(main)
