"""Wherever the operator ends, the next one brings about what an undisturbed one would have."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.unit.operator_plane.reconcile.operators import Operator, graph_ref
from tests.unit.operator_plane.reconcile.world import Crash, World, crash_at, no_crash
from tests.unit.operator_plane.render.factories import a_component, a_graph_document

Document = dict[str, Any]
MOST_WRITES = 200


def aggregated(image: str = "one", replicas: int = 2) -> Document:
    """A frontend and workers with a scaling adapter and a model."""
    worker = a_component(
        replicas=replicas, main={"image": f"engine-{image}:1.5.0"}, scalingAdapter={}, modelRef={"name": "m"}
    )
    return a_graph_document(a_component("Frontend", "frontend"), worker)


def disaggregated(image: str = "one", replicas: int = 2) -> Document:
    """Two roles of workers behind a frontend."""
    main = {"image": f"engine-{image}:1.5.0"}
    roles = [a_component(name, name.lower(), replicas=replicas, main=main) for name in ("Decode", "Prefill")]
    return a_graph_document(a_component("Frontend", "frontend"), *roles)


def planned(image: str = "one", replicas: int = 2) -> Document:
    """Workers with a planner."""
    main = {"image": f"engine-{image}:1.5.0"}
    return a_graph_document(a_component("Planner", "planner"), a_component(replicas=replicas, main=main))


Shape = Callable[..., Document]
SHAPES = [aggregated, disaggregated, planned]
CHANGES: dict[str, Callable[[World, Shape], object]] = {
    "create": lambda world, shape: world.put(shape()),
    "update": lambda world, shape: world.put({**shape(), "spec": {**shape()["spec"], "labels": {"a": "b"}}}),
    "scale": lambda world, shape: world.put(shape(replicas=5)),
    "roll": lambda world, shape: world.put(shape(image="two")),
    "delete": lambda world, shape: world.drop(graph_ref()),
}


async def undisturbed(shape: Shape, change: str) -> tuple[dict[str, Document], int]:
    """The objects after a change, and the writes that it took."""
    world = await prepared(shape, change)
    await Operator(world).settle()
    return world.tree(), world.sent


async def prepared(shape: Shape, change: str) -> World:
    """A world in which the change was just asked for."""
    world = World()
    if change != "create":
        world.put(shape())
        await Operator(world).settle()
    CHANGES[change](world, shape)
    world.sent = 0
    return world


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("shape", SHAPES)
async def test_ending_at_any_write_leads_to_the_same_objects(shape: Shape, change: str, moment: str) -> None:
    expected, writes = await undisturbed(shape, change)
    assert 0 < writes < MOST_WRITES

    for point in range(1, writes + 1):
        world = await prepared(shape, change)
        world.crashing = crash_at(point, moment)
        with pytest.raises(Crash):
            await Operator(world).settle()
        world.crashing = no_crash
        await Operator(world).settle()
        assert world.tree() == expected, f"{moment} write {point} of {writes}"
