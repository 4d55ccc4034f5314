"""What a graph leaves for later while others wait, and what its next pass is for."""

from __future__ import annotations

from typing import Any

import pytest

from dynamo_operator.kube import Kind
from dynamo_operator.kube.objects import DEPLOYMENT, GRAPH, LEADER_WORKER_SET, POD_CLIQUE_SET, SERVICE
from dynamo_operator.plan.workloads import is_workload
from dynamo_operator.reconcile import Outcome, Priority
from dynamo_operator.render import RenderContext
from tests.unit.operator_plane.reconcile.operators import Operator, component_deployments, deployments, status_of
from tests.unit.operator_plane.reconcile.world import World
from tests.unit.operator_plane.render.factories import a_component, a_graph_document

LATER = Outcome(0.0, Priority.PODS)


def a_graph(image: str = "one", **fields: Any) -> dict[str, Any]:
    worker = a_component(**{"replicas": 2, "main": {"image": f"engine-{image}:1.5.0"}, **fields})
    return a_graph_document(a_component("Frontend", "frontend"), worker)


def an_operator(graph: dict[str, Any], **context: Any) -> Operator:
    world = World()
    world.put(graph)
    return Operator(world, context=RenderContext(namespace="", **context))


def starting(world: World) -> set[Kind]:
    """The kinds that start pods, of those that are there."""
    return {ref.kind for ref in world.objects if is_workload(ref.kind) or ref.kind == POD_CLIQUE_SET}


@pytest.mark.parametrize(
    ("fields", "context", "kinds"),
    [
        pytest.param({}, {}, {DEPLOYMENT}, id="deployments"),
        pytest.param(
            {"multinode": {"nodeCount": 2}},
            {"has_leader_worker_sets": True},
            {DEPLOYMENT, LEADER_WORKER_SET},
            id="groups-of-nodes",
        ),
        pytest.param({"multinode": {"nodeCount": 2}}, {"has_grove": True}, {POD_CLIQUE_SET}, id="gangs"),
    ],
)
async def test_new_graph_starts_no_pods_before_others_have_their_objects(
    fields: dict[str, Any], context: dict[str, Any], kinds: set[Kind]
) -> None:
    operator = an_operator(a_graph(**fields), **context)

    operator.is_pressed = True
    assert await operator.outcome() == LATER
    assert starting(operator.world) == set()
    assert operator.world.seen(SERVICE) != ()

    operator.is_pressed = False
    await operator.reconcile()
    assert starting(operator.world) == kinds


async def test_nothing_is_told_of_a_graph_of_which_half_is_left_for_later() -> None:
    operator = an_operator(a_graph())
    operator.is_pressed = True

    await operator.reconcile()

    assert len(component_deployments(operator.world)) == 2
    assert status_of(operator.world) == {}
    assert operator.world.happened == []


async def test_graph_that_has_pods_puts_nothing_off() -> None:
    operator = an_operator(a_graph())
    await operator.settle()
    before = set(deployments(operator.world))
    operator.world.put(a_graph("two"))

    operator.is_pressed = True
    outcome = await operator.outcome()

    assert outcome.priority is Priority.CHANGES
    assert len(before) < len(deployments(operator.world))


async def test_graph_whose_pods_start_lets_others_go_before_its_status() -> None:
    operator = an_operator(a_graph())

    assert (await operator.outcome()).priority is Priority.STATUS
    await operator.settle()
    assert status_of(operator.world)["state"] == "successful"
    assert (await operator.outcome()).priority is Priority.CHANGES


async def test_graph_that_restarts_one_component_after_another_waits_for_nobody() -> None:
    operator = an_operator(a_graph())
    await operator.settle()
    document = operator.world.objects[operator.world.seen(GRAPH)[0].ref].document
    operator.world.put({**document, "spec": {**document["spec"], "restart": {"id": "once"}}})

    await operator.reconcile()
    outcome = await operator.outcome()

    assert status_of(operator.world)["restart"]["phase"] == "Restarting"
    assert outcome.priority is Priority.CHANGES


async def test_graph_one_of_whose_objects_is_leaving_waits_for_nobody() -> None:
    operator = an_operator(a_graph())
    await operator.settle()
    for live in operator.world.seen(SERVICE):
        operator.world.edit(
            live.ref, lambda document: document["metadata"].update(deletionTimestamp="2026-01-01T00:00:00Z")
        )
    operator.world.put(a_graph(replicas=5))

    assert (await operator.outcome()).priority is Priority.CHANGES


async def test_graph_that_cannot_have_what_it_needs_waits_for_nobody() -> None:
    operator = an_operator(a_graph())
    foreign = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "g-frontend", "namespace": "ns"}}
    operator.world.put(foreign)

    outcome = await operator.outcome()

    assert status_of(operator.world)["state"] == "failed"
    assert outcome.priority is Priority.CHANGES
