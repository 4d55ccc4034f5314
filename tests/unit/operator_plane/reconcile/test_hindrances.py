"""What others keep from being written does not keep a status from being true."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import httpx2
import pytest

from dynamo_operator.kube import Blocked, Document, Forbidden, Invalid, KubeError, Live, Ref
from dynamo_operator.kube.objects import COMPONENT_DEPLOYMENT, GRAPH, SCALING_ADAPTER, SECRET, SERVICE
from dynamo_operator.reconcile import FrontendAdmission
from dynamo_operator.reconcile.surroundings import FAILED_AGAIN_S, HINDERED_AGAIN_S
from dynamo_operator.render import RenderContext
from tests.unit.operator_plane.reconcile.operators import NAMESPACE, Operator, graph_ref, ready_condition, status_of
from tests.unit.operator_plane.reconcile.test_component_deployments import ALONE, a_document, condition
from tests.unit.operator_plane.reconcile.world import World
from tests.unit.operator_plane.render.factories import a_component, a_graph_document

ADAPTER = Ref(SCALING_ADAPTER, NAMESPACE, "g-worker")
PLANNER = Ref(COMPONENT_DEPLOYMENT, NAMESPACE, "g-planner")


class Guarded(World):
    """A policy or a webhook of others answers some writes: `refuses` says which and how."""

    def __init__(self) -> None:
        super().__init__()
        self.refuses: Callable[[str, Ref], KubeError | None] = lambda _verb, _ref: None

    async def delete(
        self, ref: Ref, *, uid: str, propagation: Literal["Background", "Foreground", "Orphan"] = "Background"
    ) -> None:
        self._ask("delete", ref)
        await super().delete(ref, uid=uid, propagation=propagation)

    async def patch(self, ref: Ref, operations: list[dict[str, Any]], *, subresource: str = "") -> Live:
        self._ask("patch", ref)
        return await super().patch(ref, operations, subresource=subresource)

    async def create(self, document: Document) -> Live:
        self._ask("create", Ref(SECRET, NAMESPACE, document["metadata"]["name"]))
        return await super().create(document)

    def _ask(self, verb: str, ref: Ref) -> None:
        error = self.refuses(verb, ref)
        if error is not None:
            raise error


def a_graph(**worker: Any) -> Document:
    return a_graph_document(a_component("Frontend", "frontend"), a_component("Worker", **worker))


@pytest.mark.parametrize("error", [Invalid("denied: kept"), Forbidden("denied: kept"), Blocked("denied: kept")])
async def test_what_may_not_be_deleted_is_named_and_keeps_nothing_else(error: KubeError) -> None:
    world = Guarded()
    operator = Operator(world)
    planner = a_component("Planner", "planner")
    world.put(a_graph_document(*a_graph(scalingAdapter={})["spec"]["components"], planner))
    await operator.settle()
    world.refuses = lambda verb, ref: error if (verb, ref) == ("delete", ADAPTER) else None

    world.put(a_graph())
    wait_s = await operator.reconcile()

    assert status_of(world)["observedGeneration"] == world.objects[graph_ref()].generation
    assert status_of(world)["state"] == "failed"
    named = "DynamoGraphDeploymentScalingAdapter g-worker cannot be deleted: denied: kept"
    assert named in ready_condition(world)["message"]
    assert PLANNER not in world.objects
    assert "AdapterDeleted" not in [each.reason for each in world.happened]
    assert wait_s is not None
    assert wait_s <= FAILED_AGAIN_S

    world.refuses = lambda _verb, _ref: None
    await operator.settle()
    assert ADAPTER not in world.objects
    assert status_of(world)["state"] == "successful"
    assert "AdapterDeleted" in [each.reason for each in world.happened]


async def test_a_webhook_that_keeps_the_generation_from_being_noted_keeps_no_status() -> None:
    world = Guarded()
    operator = Operator(world)
    world.put(a_graph())
    world.refuses = lambda verb, ref: Blocked("failed calling webhook") if ref.kind == GRAPH else None
    for _ in range(4):
        wait_s = await operator.reconcile()
        world.run_pods()
        world.make_ready()
        operator.now_s += 11

    assert status_of(world)["state"] == "successful"
    assert wait_s is not None
    assert wait_s <= HINDERED_AGAIN_S, "nothing else tells that the webhook is back"

    world.refuses = lambda _verb, _ref: None
    await operator.reconcile()
    assert "nvidia.com/current-worker-hash-v2" in world.objects[graph_ref()].annotations


async def test_a_key_pair_that_a_webhook_keeps_back_is_named() -> None:
    world = Guarded()
    operator = Operator(world, context=RenderContext(namespace="", has_leader_worker_sets=True))
    engine = {"command": ["python3", "-m", "dynamo.trtllm"], "resources": {"limits": {"nvidia.com/gpu": "1"}}}
    world.put(a_graph(main=engine, multinode={"nodeCount": 2}))
    world.refuses = lambda verb, _ref: Blocked("failed calling webhook") if verb == "create" else None

    await operator.reconcile()

    assert "Secret mpi-run-ssh-secret: failed calling webhook" in ready_condition(world)["message"]


async def test_frontends_that_we_may_not_list_tell_nothing() -> None:
    class Closed(World):
        async def find(self, *_: Any, **__: Any) -> tuple[Live, ...]:
            raise Forbidden("pods is forbidden")

    async with httpx2.AsyncClient() as http:
        assert await FrontendAdmission(Closed(), http).admitted(graph_ref()) is None


async def test_a_lone_component_deployments_conflict_is_told_also_when_it_was_not_ready_before() -> None:
    world = World()
    operator = Operator(world)
    world.put(a_document())
    await operator.components.reconcile(ALONE)
    operator.now_s += 11
    await operator.components.reconcile(ALONE)
    assert condition(world)["status"] == "False"
    service = Ref(SERVICE, NAMESPACE, "alone")
    assert service in world.objects
    world.drop(service)
    world.put({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "alone"}, "spec": {}})

    for _ in range(2):
        await operator.components.reconcile(ALONE)
        operator.now_s += 11

    assert "Service alone exists and has no owner" in condition(world)["message"]
    (told,) = (each for each in world.happened if each.reason == "OwnershipConflict")
    assert told.message in condition(world)["message"]
    assert told.is_warning
