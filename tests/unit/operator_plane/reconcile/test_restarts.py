"""Restarts of a running graph, on a cluster in memory."""

from __future__ import annotations

from typing import Any

from dynamo_operator.plan.workloads import RESTARTED_AT
from tests.unit.operator_plane.reconcile.operators import Operator, component_deployments, deployments, status_of
from tests.unit.operator_plane.reconcile.world import World
from tests.unit.operator_plane.render.factories import a_component, a_graph_document


def a_graph(identifier: str = "", kind: str = "Sequential", image: str = "one") -> dict[str, Any]:
    worker = a_component("Worker", main={"image": f"engine-{image}:1.5.0"})
    restart = {"restart": {"id": identifier, "strategy": {"type": kind}}} if identifier else {}
    return a_graph_document(a_component("Frontend", "frontend"), worker, **restart)


async def a_running() -> tuple[World, Operator]:
    world = World()
    world.put(a_graph())
    operator = Operator(world)
    await operator.settle()
    return world, operator


def restarted(world: World) -> dict[str, str]:
    """Restart ids by component, of those that have one."""
    found = {}
    for live in deployments(world).values():
        metadata = live.document["spec"]["template"]["metadata"]
        if RESTARTED_AT in metadata.get("annotations", {}):
            found[metadata["labels"]["nvidia.com/dynamo-component"]] = metadata["annotations"][RESTARTED_AT]
    return found


async def test_sequential_restart_waits_for_each_component() -> None:
    world, operator = await a_running()
    generations = component_deployments(world)
    world.put(a_graph("1"))

    await operator.reconcile()
    await operator.reconcile()
    assert restarted(world) == {"Frontend": "1"}
    assert status_of(world)["restart"] == {"observedID": "1", "phase": "Restarting", "inProgress": ["Frontend"]}
    assert status_of(world)["state"] == "pending"

    await operator.settle()
    assert restarted(world) == {"Frontend": "1", "Worker": "1"}
    assert status_of(world)["restart"]["phase"] == "Completed"
    assert component_deployments(world) == generations


async def test_parallel_restart_takes_all_at_once() -> None:
    world, operator = await a_running()
    world.put(a_graph("1", "Parallel"))

    await operator.reconcile()

    assert restarted(world) == {"Frontend": "1", "Worker": "1"}


async def test_pods_stay_after_the_block_is_gone() -> None:
    world, operator = await a_running()
    world.put(a_graph("1"))
    await operator.settle()

    world.put(a_graph())
    await operator.settle()

    assert restarted(world) == {"Frontend": "1", "Worker": "1"}


async def test_rollout_supersedes_a_restart_under_way() -> None:
    world, operator = await a_running()
    world.put(a_graph("1"))
    await operator.reconcile()

    world.put(a_graph("1", image="two"))
    await operator.settle()

    assert status_of(world)["restart"]["phase"] == "Superseded"
    assert "Worker" not in restarted(world)
