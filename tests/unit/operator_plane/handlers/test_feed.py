"""News becomes marks, and nothing is marked on half a picture."""

from __future__ import annotations

import asyncio

import pytest

from dynamo_operator.handlers.feed import Feed
from dynamo_operator.handlers.queue import Queue
from dynamo_operator.handlers.store import LiveStore
from dynamo_operator.kube import Kind, Live, Packed, Ref
from dynamo_operator.kube.objects import DEPLOYMENT, GRAPH, SECRET
from dynamo_operator.reconcile import Outcome, Store
from tests.unit.operator_plane.handlers.objects import packed
from tests.unit.operator_plane.handlers.test_queue import Passes

OF = "of-graph"


class Graphs(Passes):
    """Reconciles graphs; a Deployment concerns the graph that its label names."""

    root_kind: Kind = GRAPH
    watched_kinds: tuple[Kind, ...] = (GRAPH, DEPLOYMENT)

    def roots_of(self, live: Live, store: Store) -> tuple[Ref, ...]:
        if live.ref.kind == GRAPH:
            return (live.ref,)
        if live.labels.get(OF) == "crash":
            raise RuntimeError("a bug")
        return (Ref(GRAPH, live.ref.namespace, live.labels[OF]),) if OF in live.labels else ()

    async def reconcile(self, root: Ref) -> Outcome:
        return await super().reconcile(root)


def stage() -> tuple[Feed, Graphs, Queue]:
    graphs, store = Graphs(watched_kinds=(GRAPH, DEPLOYMENT)), LiveStore()
    queue = Queue(graphs)
    return Feed(store, queue, [graphs], expected=[GRAPH, DEPLOYMENT]), graphs, queue


async def settle(queue: Queue) -> None:
    await asyncio.sleep(0)  # what was handed over from the watching thread
    await queue.drain(5)


async def test_synced_means_that_every_kind_was_listed() -> None:
    feed, _, _ = stage()
    feed.listed(GRAPH, "", [packed()], 5)
    await asyncio.sleep(0)
    assert not feed.synced.is_set()
    feed.listed(DEPLOYMENT, "", [], 5)
    await asyncio.wait_for(feed.synced.wait(), 5)


async def test_a_watch_that_begins_anew_has_to_list_every_kind_again() -> None:
    feed, _, _ = stage()
    assert feed.unlisted == {GRAPH, DEPLOYMENT}
    for kind in (GRAPH, DEPLOYMENT):
        feed.listed(kind, "", [], 5)
    await asyncio.wait_for(feed.synced.wait(), 5)
    assert feed.unlisted == frozenset()
    feed.begin_anew()
    feed.listed(DEPLOYMENT, "", [], 6)
    await asyncio.sleep(0)
    assert feed.unlisted == {GRAPH}
    assert feed.synced.is_set(), "what was seen of the others is still true"


async def test_nothing_is_marked_before_the_picture_is_whole() -> None:
    feed, graphs, queue = stage()
    queue.resume([])
    feed.listed(GRAPH, "", [packed()], 5)
    feed.seen(packed("h", 6))
    await settle(queue)
    assert graphs.begun == []
    assert [work.root.name for work in feed.all_work()] == ["g", "h"]


async def test_what_a_root_left_behind_while_nobody_led_is_work_too() -> None:
    feed, _, _ = stage()
    feed.listed(GRAPH, "", [packed("g")], 5)
    left = [
        packed("shared", 2, kind=DEPLOYMENT, labels={OF: "gone"}),
        packed("owned", 3, kind=DEPLOYMENT, labels={OF: "other"}, owner="u"),
        packed("foreign", 4, kind=DEPLOYMENT),
    ]
    feed.listed(DEPLOYMENT, "", left, 5)
    await asyncio.sleep(0)
    assert [work.root.name for work in feed.all_work()] == ["g", "gone"]


async def synced_stage() -> tuple[Feed, Graphs, Queue]:
    feed, graphs, queue = stage()
    feed.listed(GRAPH, "", [], 1)
    feed.listed(DEPLOYMENT, "", [packed("d", 1, kind=DEPLOYMENT, labels={OF: "g"})], 1)
    await asyncio.wait_for(feed.synced.wait(), 5)
    queue.resume([])
    return feed, graphs, queue


async def test_a_changed_child_marks_its_root() -> None:
    feed, graphs, queue = await synced_stage()
    feed.seen(packed("d", 2, kind=DEPLOYMENT, labels={OF: "g"}))
    await graphs.until(lambda: graphs.begun == ["g"])
    await settle(queue)


@pytest.mark.parametrize(
    ("news", "is_edit"),
    [
        pytest.param(packed("g", 2, generation=2), True, id="another-spec"),
        pytest.param(packed("g", 2, generation=1), False, id="status"),
        pytest.param(packed("h", 2, generation=1), False, id="new-root"),
        pytest.param(packed("d", 2, generation=2, kind=DEPLOYMENT, labels={OF: "g"}), False, id="child"),
    ],
)
async def test_only_another_spec_of_a_root_is_an_edit(
    news: Packed, is_edit: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    feed, _, queue = stage()
    feed.listed(GRAPH, "", [packed("g", generation=1)], 1)
    feed.listed(DEPLOYMENT, "", [packed("d", generation=1, kind=DEPLOYMENT, labels={OF: "g"})], 1)
    await asyncio.wait_for(feed.synced.wait(), 5)
    queue.resume([])
    edits: list[bool] = []
    monkeypatch.setattr(queue, "mark", lambda _, *, is_edit: edits.append(is_edit))
    feed.take(news)
    assert edits == [is_edit]
    await settle(queue)


async def test_a_child_that_moves_marks_both_roots() -> None:
    feed, graphs, queue = await synced_stage()
    feed.seen(packed("d", 2, kind=DEPLOYMENT, labels={OF: "h"}))
    await graphs.until(lambda: sorted(graphs.begun) == ["g", "h"])
    await settle(queue)


async def test_a_child_that_vanished_unseen_marks_its_root() -> None:
    """A second list lacks it: nobody ever said that it was deleted."""
    feed, graphs, queue = await synced_stage()
    feed.listed(DEPLOYMENT, "", [], 9)
    await graphs.until(lambda: graphs.begun == ["g"])
    await settle(queue)


async def test_the_echo_of_known_news_marks_nothing() -> None:
    feed, graphs, queue = await synced_stage()
    feed.seen(packed("d", 1, kind=DEPLOYMENT, labels={OF: "g"}))
    await settle(queue)
    assert graphs.begun == []


async def test_a_controller_that_stumbles_over_an_object_sees_the_next(caplog: pytest.LogCaptureFixture) -> None:
    feed, graphs, queue = await synced_stage()
    feed.seen(packed("odd", 2, kind=DEPLOYMENT, labels={OF: "crash"}))
    feed.seen(packed("d", 3, kind=DEPLOYMENT, labels={OF: "g"}))
    await graphs.until(lambda: graphs.begun == ["g"])
    await settle(queue)
    assert "roots_crashed" in caplog.text


async def test_written_objects_that_nobody_watches_are_not_kept() -> None:
    graphs, store = Graphs(), LiveStore()
    feed = Feed(store, Queue(graphs), [graphs], expected=[GRAPH])
    for written in (packed("s", 2, kind=SECRET), packed("g", 2)):
        feed.take(written)
    assert store.count(SECRET) == 0
    assert store.count(GRAPH) == 1
