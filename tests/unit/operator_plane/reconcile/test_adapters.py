"""Scaling adapters: what they are scaled to is copied into their graph, once, by one writer, and said truthfully."""

from __future__ import annotations

from typing import Any

import pytest

from dynamo_operator.kube import Conflict, Document, Forbidden, Invalid, Ref, Unreachable
from dynamo_operator.kube.objects import DEPLOYMENT, SCALING_ADAPTER
from tests.fakes.kube import Fault
from tests.unit.operator_plane.reconcile.operators import (
    NAMESPACE,
    Operator,
    graph_ref,
    ready_condition,
    replicas,
    status_of,
)
from tests.unit.operator_plane.reconcile.world import Crash, World, crash_at
from tests.unit.operator_plane.render.factories import a_component, a_graph_document

ADAPTER = Ref(SCALING_ADAPTER, NAMESPACE, "g-worker")


def a_graph(count: int | None = 2, **fields: Any) -> Document:
    counted = {} if count is None else {"replicas": count}
    worker = a_component("Worker", "worker", scalingAdapter={}, **counted, **fields)
    return a_graph_document(a_component("Frontend", "frontend"), worker)


def an_adapter(name: str = "g-worker", *, graph: str = "g", component: str = "Worker", count: int = 5) -> Document:
    return {
        "apiVersion": "nvidia.com/v1beta1",
        "kind": "DynamoGraphDeploymentScalingAdapter",
        "metadata": {"name": name},
        "spec": {"replicas": count, "dgdRef": {"name": graph, "componentName": component}},
    }


async def settled(graph: Document | None = None) -> tuple[World, Operator]:
    """A graph that runs, with its adapter's first status."""
    world = World()
    world.put(graph or a_graph())
    operator = Operator(world)
    await operator.settle()
    await operator.adapters.reconcile(ADAPTER)
    return world, operator


def scale(world: World, count: int) -> None:
    world.edit(ADAPTER, lambda document: document["spec"].update(replicas=count))


def status(world: World, ref: Ref = ADAPTER) -> dict[str, Any]:
    found: dict[str, Any] = world.objects[ref].document.get("status") or {}
    return found


def asked(world: World, position: int = 1) -> int | None:
    count: int | None = world.objects[graph_ref()].document["spec"]["components"][position].get("replicas")
    return count


def told(world: World) -> list[tuple[str, str]]:
    return [(each.reason, each.message) for each in world.happened if each.about.kind == SCALING_ADAPTER]


async def test_a_new_adapter_takes_the_components_replicas_and_scales_nothing() -> None:
    world, _ = await settled()

    assert world.objects[ADAPTER].document["spec"]["replicas"] == 2
    selector = "nvidia.com/dynamo-component=Worker,nvidia.com/dynamo-graph-deployment-name=g"
    assert status(world) == {"replicas": 2, "selector": selector}
    assert told(world) == []


async def test_scaling_reaches_the_pods_and_is_told_once() -> None:
    world, operator = await settled()

    scale(world, 5)
    operator.now_s = 100
    for _ in range(3):
        await operator.adapters.reconcile(ADAPTER)
    await operator.settle()

    assert asked(world) == 5
    assert 5 in replicas(world).values()
    assert status(world)["replicas"] == 5
    assert status(world)["lastScaleTime"] == "2026-01-01T00:01:40Z"
    assert told(world) == [("Scaled", "Scaled component Worker of graph g from 2 to 5")]


async def test_scaling_to_zero_is_scaling() -> None:
    world, operator = await settled()
    scale(world, 0)
    await operator.adapters.reconcile(ADAPTER)
    assert asked(world) == 0
    assert status(world)["replicas"] == 0


async def test_a_pass_at_rest_writes_and_asks_nothing() -> None:
    world, operator = await settled()
    world.calls.clear()
    outcome = await operator.adapters.reconcile(ADAPTER)
    assert world.calls == []
    assert outcome.again_after_s is None


async def test_replicas_that_somebody_else_wrote_into_the_graph_are_put_back() -> None:
    world, operator = await settled()
    world.edit(graph_ref(), lambda document: document["spec"]["components"][1].update(replicas=9))
    await operator.adapters.reconcile(ADAPTER)
    assert asked(world) == 2
    assert told(world) == [("Scaled", "Scaled component Worker of graph g from 9 to 2")]


async def test_replicas_that_are_left_out_are_written_for_readers_that_take_them_for_none() -> None:
    world, _ = await settled(a_graph(None))
    assert asked(world) == 1
    assert told(world) == []


@pytest.mark.parametrize("error", [Conflict("changed"), Invalid("a test failed")], ids=["conflict", "test-failed"])
async def test_a_graph_that_was_edited_meanwhile_is_looked_at_again(error: Exception) -> None:
    """The component moved to another place between our look and our patch."""
    world, operator = await settled()
    scale(world, 4)
    seen = world.objects[graph_ref()]
    world.edit(graph_ref(), lambda document: document["spec"]["components"].reverse())
    operator.view.pinned = {graph_ref(): seen}
    world.faults.append(Fault(error))

    await operator.adapters.reconcile(ADAPTER)

    assert asked(world, 0) == 4
    assert asked(world, 1) in (None, 1)


async def test_a_stale_view_of_the_graph_never_scales_another_component() -> None:
    """Both components ask for adapters, and changed places since we looked."""
    parts = [a_component(name, "worker", scalingAdapter={}, replicas=2) for name in ("Other", "Worker")]
    world, operator = await settled(a_graph_document(*parts))
    scale(world, 4)
    seen = world.objects[graph_ref()]
    world.edit(graph_ref(), lambda document: document["spec"]["components"].reverse())
    operator.view.pinned = {graph_ref(): seen}

    await operator.adapters.reconcile(ADAPTER)

    assert (asked(world, 0), asked(world, 1)) == (4, 2)


async def test_a_stale_view_of_the_adapter_scales_nothing_back() -> None:
    """A new leader hears of the graph at 5 before it hears of the adapter at 5."""
    world, operator = await settled()
    old = world.objects[ADAPTER]
    scale(world, 5)
    await operator.adapters.reconcile(ADAPTER)

    successor = Operator(world)
    successor.view.pinned = {ADAPTER: old}
    await successor.adapters.reconcile(ADAPTER)

    assert asked(world) == 5


async def test_a_component_that_lost_its_adapter_meanwhile_is_its_users_again() -> None:
    world, operator = await settled()
    scale(world, 4)
    seen = world.objects[graph_ref()]
    world.edit(graph_ref(), lambda document: document["spec"]["components"][1].pop("scalingAdapter"))
    operator.view.pinned = {graph_ref(): seen}

    await operator.adapters.reconcile(ADAPTER)

    assert asked(world) == 2


@pytest.mark.parametrize("error", [Invalid("denied: no"), Forbidden("denied: no")], ids=["invalid", "forbidden"])
async def test_a_refusal_is_told_and_tried_again_later(error: Exception) -> None:
    world, operator = await settled()
    scale(world, 4)
    world.faults += [Fault(error), Fault(error)]

    outcome = await operator.adapters.reconcile(ADAPTER)

    assert asked(world) == 2
    assert status(world)["replicas"] == 2
    assert "lastScaleTime" not in status(world)
    assert told(world) == [("UpdateFailed", "denied: no")]
    assert outcome.again_after_s == 60


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("point", [1, 2])
async def test_an_operator_that_ends_at_any_write_leaves_nothing_undone(point: int, moment: str) -> None:
    world, operator = await settled()
    scale(world, 3)
    world.sent, world.crashing = 0, crash_at(point, moment)
    with pytest.raises(Crash):
        await operator.adapters.reconcile(ADAPTER)
    world.crashing = lambda *_: None

    await Operator(world, now_s=50).adapters.reconcile(ADAPTER)

    assert asked(world) == 3
    assert status(world)["replicas"] == 3
    assert "lastScaleTime" in status(world)
    if (point, moment) != (2, "after"):
        assert told(world)[-1][0] == "Scaled"


@pytest.mark.parametrize("ago", [1, 9, None], ids=["lower", "higher", "unsaid"])
async def test_the_graphs_pass_takes_replicas_from_the_adapter_whatever_the_graph_says(ago: int | None) -> None:
    """An older manifest was applied past the webhook, and the adapter's own pass is yet to come."""
    world, operator = await settled()
    scale(world, 5)
    await operator.adapters.reconcile(ADAPTER)
    await operator.settle()
    assert replicas(world)["g-frontend"] == 1
    (worker,) = (name for name in replicas(world) if name != "g-frontend")

    world.put(a_graph(ago))
    await operator.settle()

    assert replicas(world)[worker] == 5
    assert world.objects[ADAPTER].document["spec"]["replicas"] == 5
    assert {ready_condition(world)["status"], status_of(world)["components"]["Worker"]["replicas"]} == {"True", 5}


async def test_a_component_without_an_adapter_has_the_graphs_replicas_again() -> None:
    world, operator = await settled()
    scale(world, 5)
    await operator.settle()

    graph = a_graph(3)
    del graph["spec"]["components"][1]["scalingAdapter"]
    world.put(graph)
    await operator.settle()

    assert set(replicas(world).values()) == {1, 3}
    assert ADAPTER not in world.objects


async def test_the_api_servers_absence_is_the_queues_business() -> None:
    world, operator = await settled()
    scale(world, 4)
    world.faults.append(Fault(Unreachable("no answer")))
    with pytest.raises(Unreachable):
        await operator.adapters.reconcile(ADAPTER)


@pytest.mark.parametrize(
    ("adapter", "message", "count"),
    [
        pytest.param(an_adapter("x", graph="other"), "there is no graph other in namespace ns", 0, id="no-graph"),
        pytest.param(
            an_adapter("x", component="worker"),
            "graph g has no component worker; it has Frontend, Worker",
            0,
            id="no-component",
        ),
        pytest.param(
            an_adapter("g-frontend", component="Frontend"),
            "component Frontend of graph g does not ask for an adapter (scalingAdapter: {})",
            1,
            id="no-opt-in",
        ),
        pytest.param(
            an_adapter("second"),
            "component Worker of graph g is scaled by adapter g-worker only",
            2,
            id="second-writer",
        ),
    ],
)
async def test_an_adapter_that_scales_nothing_says_why(adapter: Document, message: str, count: int) -> None:
    world, operator = await settled()
    live = world.put(adapter)
    before = world.objects[graph_ref()]

    outcome = await operator.adapters.reconcile(live.ref)

    assert world.objects[graph_ref()] == before
    assert told(world) == [("UpdateFailed", message)]
    assert status(world, live.ref)["replicas"] == count
    assert outcome.again_after_s == 60


async def test_a_graph_in_another_namespace_is_out_of_reach() -> None:
    world, operator = await settled()
    live = world.put(an_adapter(), namespace="elsewhere")
    await operator.adapters.reconcile(live.ref)
    assert told(world) == [("UpdateFailed", "there is no graph g in namespace elsewhere")]
    assert asked(world) == 2


@pytest.mark.parametrize("which", [ADAPTER, graph_ref()], ids=["adapter", "graph"])
async def test_what_is_being_deleted_is_left_alone(which: Ref) -> None:
    world, operator = await settled()
    scale(world, 4)
    world.edit(which, lambda document: document["metadata"].update(deletionTimestamp="2026-01-01T00:00:00Z"))
    world.calls.clear()
    outcome = await operator.adapters.reconcile(ADAPTER)
    assert (world.calls, outcome.again_after_s) == ([], None)


async def test_an_adapter_that_is_gone_is_no_work() -> None:
    operator = Operator(World())
    assert (await operator.adapters.reconcile(ADAPTER)).again_after_s is None


async def test_news_of_a_graph_concern_its_adapters() -> None:
    world, operator = await settled()
    graph, view = world.objects[graph_ref()], operator.view
    assert operator.adapters.roots_of(graph, view) == (ADAPTER,)
    assert operator.adapters.roots_of(world.objects[ADAPTER], view) == (ADAPTER,)


async def test_replicas_stay_the_field_of_whoever_scaled() -> None:
    world, operator = await settled()
    assert world.objects[ADAPTER].applied["spec"]["replicas"] == 2
    scale(world, 6)
    world.edit(ADAPTER, lambda document: document["metadata"].update(labels={}))
    await operator.settle()
    assert world.objects[ADAPTER].labels != {}
    assert "replicas" not in world.objects[ADAPTER].applied["spec"]


async def test_the_graphs_pass_never_takes_a_scaling_back() -> None:
    """Somebody scales between the pass's look at the adapter and its write."""
    world, operator = await settled()
    world.edit(ADAPTER, lambda document: document["metadata"].update(labels={}))
    seen = world.objects[ADAPTER]
    scale(world, 6)
    operator.view.pinned = {ADAPTER: seen}

    await operator.reconcile()

    assert world.objects[ADAPTER].document["spec"]["replicas"] == 6
    assert world.objects[ADAPTER].labels != {}


async def test_an_adapter_that_was_never_scaled_keeps_its_replicas_when_restored() -> None:
    world, operator = await settled()
    world.edit(ADAPTER, lambda document: document["metadata"].update(labels={}))
    await operator.settle()
    assert world.objects[ADAPTER].document["spec"]["replicas"] == 2
    assert world.objects[ADAPTER].labels != {}


async def test_the_deployment_follows_the_adapter_through_a_rolling_update() -> None:
    world, operator = await settled()
    world.put(a_graph(2, main={"image": "engine-two:1.5.0"}))
    await operator.reconcile()
    scale(world, 3)
    await operator.adapters.reconcile(ADAPTER)
    await operator.settle()
    workers = [live for live in world.seen(DEPLOYMENT) if "worker" in live.ref.name]
    assert [live.document["spec"]["replicas"] for live in workers] == [3]
