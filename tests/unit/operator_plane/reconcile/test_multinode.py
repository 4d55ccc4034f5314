"""Graphs that other orchestrators run: groups of nodes by LeaderWorkerSet, gangs by Grove."""

from __future__ import annotations

import pytest

from dynamo_operator.kube import Document, Ref
from dynamo_operator.kube.objects import GRAPH, LEADER_WORKER_SET, POD_CLIQUE_SET
from dynamo_operator.render import RenderContext
from tests.unit.operator_plane.reconcile.operators import NAMESPACE, Operator, graph_ref, ready_condition, status_of
from tests.unit.operator_plane.reconcile.world import World
from tests.unit.operator_plane.render.factories import a_component, a_graph_document


def a_multinode_graph(image: str = "one") -> Document:
    main = {"image": f"engine-{image}:1.5.0", "args": ["python3 -m dynamo.sglang --tp 2"]}
    worker = a_component(replicas=2, multinode={"nodeCount": 2}, main=main)
    return a_graph_document(worker, backendFramework="sglang")


def run_groups(world: World) -> None:
    """What LeaderWorkerSet's controller reports of groups that are all ready."""
    for live in world.seen(LEADER_WORKER_SET):
        count = live.document["spec"]["replicas"]
        counts = dict.fromkeys(("replicas", "readyReplicas", "updatedReplicas"), count)
        status = {**counts, "conditions": [{"type": "Available", "status": "True"}]}
        world.edit(live.ref, lambda document, status=status: document.update(status=status))


async def test_groups_of_nodes_are_rolled_and_their_owner_is_told_the_limits() -> None:
    world = World()
    world.put(a_multinode_graph())
    operator = Operator(world, context=RenderContext(namespace="", has_leader_worker_sets=True))
    for image in ("one", "two"):
        world.put(a_multinode_graph(image))
        for _ in range(12):
            await operator.reconcile()
            world.collect()
            run_groups(world)
            operator.now_s += 11
        assert status_of(world)["state"] == "successful"

    assert [live.document["spec"]["replicas"] for live in world.seen(LEADER_WORKER_SET)] == [2]
    assert status_of(world)["components"]["Worker"]["componentKind"] == "LeaderWorkerSet"
    assert [each.reason for each in world.happened].count("RollingUpdateNotSupported") == 1


async def test_without_an_orchestrator_the_graph_says_what_is_missing() -> None:
    world = World()
    world.put(a_multinode_graph())

    await Operator(world).reconcile()

    assert status_of(world)["state"] == "failed"
    assert "Worker" in ready_condition(world)["message"]


async def test_change_of_workers_on_grove_is_groves() -> None:
    world = World()
    operator = Operator(world, context=RenderContext(namespace="", has_grove=True))
    world.put(a_graph_document(a_component()))
    for image in ("one", "one", "two", "two"):
        spec = a_graph_document(a_component(main={"image": f"engine-{image}:1.5.0"}))["spec"]
        world.edit(graph_ref(), lambda document, spec=spec: document.update(spec=spec))
        await operator.reconcile()

    (gang,) = world.seen(POD_CLIQUE_SET)
    assert "engine-two" in str(gang.document["spec"])
    assert [each.reason for each in world.happened].count("RollingUpdateNotSupported") == 1


def alone() -> Document:
    return {
        "apiVersion": "nvidia.com/v1beta1",
        "kind": "DynamoComponentDeployment",
        "metadata": {"name": "g", "namespace": NAMESPACE},
        "spec": a_multinode_graph()["spec"]["components"][-1],
    }


@pytest.mark.parametrize("document", [a_multinode_graph(), alone()], ids=["graph", "component deployment"])
async def test_upstreams_set_of_each_replica_serves_until_ours_has_them_all(document: Document) -> None:
    world = World()
    world.put(document)
    operator = Operator(world, context=RenderContext(namespace="", has_leader_worker_sets=True))
    controller = operator.graphs if document["kind"] == GRAPH.name else operator.components
    root = Ref(controller.root_kind, NAMESPACE, "g")
    await controller.reconcile(root)
    ((first, ours),) = ((live.ref.name, live.document) for live in world.seen(LEADER_WORKER_SET))
    second = f"{first.removesuffix('-0')}-1"
    for name in (first, second):
        metadata = {**ours["metadata"], "name": name}
        world.put({**ours, "metadata": metadata, "spec": {**ours["spec"], "replicas": 1}})
    run_groups(world)

    for _ in range(2):
        await controller.reconcile(root)
        world.collect()
        sizes = {live.ref.name: live.document["spec"]["replicas"] for live in world.seen(LEADER_WORKER_SET)}
        assert sizes == {first: 2, second: 1}
    run_groups(world)
    await controller.reconcile(root)
    assert [live.ref.name for live in world.seen(LEADER_WORKER_SET)] == [first]
