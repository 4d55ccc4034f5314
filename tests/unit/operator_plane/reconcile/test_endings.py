"""Roots in namespaces that are being deleted."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

import pytest

from dynamo_operator.kube import Document, Ending, Live, Ref
from dynamo_operator.reconcile.endings import REST_S
from tests.unit.operator_plane.reconcile.operators import Operator, graph_ref
from tests.unit.operator_plane.reconcile.test_component_deployments import ALONE, a_document
from tests.unit.operator_plane.reconcile.world import World
from tests.unit.operator_plane.render.factories import a_component, a_graph_document

REFUSAL = "unable to create new content in namespace ns because it is being terminated"
Pass = Callable[[Operator], Awaitable[float | None]]
GRAPH_DOCUMENT = a_graph_document(a_component("Frontend", "frontend"), a_component("Worker"))


class EndingWorld(World):
    """Takes changes and deletions, and refuses whatever is new."""

    def __init__(self) -> None:
        super().__init__()
        self.refused = 0
        self.is_ending = True

    async def apply(self, document: Document, *, is_new: bool = False) -> Live:
        if is_new and self.is_ending:
            self.refused += 1
            raise Ending(REFUSAL)
        return await super().apply(document, is_new=is_new)


async def of_graph(operator: Operator) -> float | None:
    return await operator.reconcile()


async def of_component_deployment(operator: Operator) -> float | None:
    return (await operator.components.reconcile(ALONE)).again_after_s


ROOTS = [
    pytest.param(GRAPH_DOCUMENT, graph_ref(), of_graph, id="graph"),
    pytest.param(a_document(), ALONE, of_component_deployment, id="component-deployment"),
]


@pytest.mark.parametrize(("document", "ref", "pass_"), ROOTS)
async def test_a_root_that_can_make_nothing_is_left_alone(
    document: dict[str, object], ref: Ref, pass_: Pass, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    world = EndingWorld()
    operator = Operator(world)
    world.put(document)

    waits = [await pass_(operator) for _ in range(5)]

    assert waits == [REST_S] * 5
    assert world.refused == 1, "what is left of a pass, and later passes, ask for nothing"
    assert (world.happened, list(world.objects)) == ([], [ref])
    assert [each.getMessage() for each in caplog.records] == [f"namespace_ending root={ref} message={REFUSAL!r}"]


@pytest.mark.parametrize(("document", "ref", "pass_"), ROOTS)
async def test_it_is_tried_again_after_a_long_while_and_said_once(
    document: dict[str, object], ref: Ref, pass_: Pass, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    world = EndingWorld()
    operator = Operator(world)
    world.put(document)
    for _ in range(3):
        await pass_(operator)
        operator.now_s += REST_S
    assert (world.refused, len(caplog.records)) == (3, 1)

    world.is_ending = False
    await pass_(operator)
    assert len(world.objects) > 3


@pytest.mark.parametrize(("document", "ref", "pass_"), ROOTS)
async def test_a_root_of_the_same_name_in_a_new_namespace_waits_for_nothing(
    document: dict[str, object], ref: Ref, pass_: Pass
) -> None:
    world = EndingWorld()
    operator = Operator(world)
    world.put(document)
    await pass_(operator)
    world.drop(ref)
    world.is_ending = False
    world.put(document)

    await pass_(operator)

    assert len(world.objects) > 3
