"""A root that needs a kind which the cluster lacks is come back to, and the lack is told; one with a mistake waits."""

from __future__ import annotations

from typing import Any

import pytest

from dynamo_operator.kube import Ref
from dynamo_operator.kube.objects import COMPONENT_DEPLOYMENT, GRAPH
from dynamo_operator.reconcile import ComponentDeploymentController, GraphController, Outcome, Surroundings
from dynamo_operator.reconcile.surroundings import FAILED_AGAIN_S
from dynamo_operator.render import RenderContext
from tests.unit.operator_plane.reconcile.operators import NAMESPACE
from tests.unit.operator_plane.reconcile.test_multinode import a_multinode_graph, alone
from tests.unit.operator_plane.reconcile.world import Admitting, View, World

Document = dict[str, Any]


async def a_pass(document: Document) -> tuple[Outcome, list[str], Document]:
    """One pass where there is no LeaderWorkerSet: what it came to, what was told to lack, and the root's status."""
    world, lacks = World(), list[str]()
    world.put(document)
    around = Surroundings(
        world, View(world), RenderContext(namespace=""), monotonic=lambda: 100.0, on_lack=lacks.append
    )
    kind = GRAPH if document["kind"] == GRAPH.name else COMPONENT_DEPLOYMENT
    by_kind = {
        GRAPH: GraphController(around, Admitting(world)),
        COMPONENT_DEPLOYMENT: ComponentDeploymentController(around),
    }
    root = Ref(kind, NAMESPACE, document["metadata"]["name"])
    outcome = await by_kind[kind].reconcile(root)
    return outcome, lacks, world.objects[root].document.get("status") or {}


@pytest.mark.parametrize("document", [a_multinode_graph(), alone()], ids=["graph", "component deployment"])
async def test_a_root_that_lacks_an_orchestrator_is_come_back_to_and_raises_doubt(document: Document) -> None:
    outcome, lacks, _ = await a_pass(document)
    assert outcome.again_after_s is not None
    assert outcome.again_after_s <= FAILED_AGAIN_S
    assert len(lacks) == 1
    assert "needs LeaderWorkerSet or Grove" in lacks[0]


async def test_a_root_with_a_mistake_waits_for_its_author_and_raises_no_doubt() -> None:
    document = a_multinode_graph()
    document["metadata"]["name"] = "g" * 60
    outcome, lacks, status = await a_pass(document)
    assert (outcome.again_after_s, lacks) == (None, [])
    assert status["state"] == "failed"
