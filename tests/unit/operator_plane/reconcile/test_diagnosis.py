"""What a graph's owner reads while something keeps its pods from serving, or its objects from being made."""

from __future__ import annotations

from typing import Any

import pytest

from dynamo_operator.kube import Blocked, Forbidden, Ref
from dynamo_operator.kube.objects import COMPONENT_DEPLOYMENT, DEPLOYMENT, GRAPH, SERVICE
from dynamo_operator.plan.conditions import condition_of
from dynamo_operator.reconcile.diagnosis import AGAIN_S, FIRST_LOOK_S
from dynamo_operator.reconcile.reporting import FIRST_LATER_S
from dynamo_operator.reconcile.surroundings import HINDERED_AGAIN_S
from dynamo_operator.render import names
from tests.unit.operator_plane.reconcile.operators import (
    NAMESPACE,
    Operator,
    component_deployments,
    graph_ref,
    ready_condition,
    status_of,
)
from tests.unit.operator_plane.reconcile.world import World
from tests.unit.operator_plane.render.factories import a_component, a_graph_document

PULLING = {"name": "main", "ready": False, "state": {"waiting": {"reason": "ImagePullBackOff"}}}


def a_world(**worker: Any) -> World:
    world = World()
    world.put(a_graph_document(a_component("Frontend", "frontend"), a_component(replicas=2, **worker)))
    return world


def put_pod(world: World, name: str, deployment: str, component: str = "Worker") -> None:
    labels = {names.GRAPH_NAME: "g", names.COMPONENT: component, names.SELECTOR: deployment}
    world.put(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "labels": labels},
            "spec": {"containers": [{"name": "main", "image": "engine:1.5.0"}]},
            "status": {"phase": "Pending", "containerStatuses": [PULLING]},
        }
    )


def worker_deployment(world: World) -> str:
    return next(name for name in component_deployments(world) if name.startswith("g-worker"))


async def unready(world: World) -> Operator:
    """An operator that has seen the graph without pods for longer than good pods take."""
    operator = Operator(world)
    await operator.reconcile()
    put_pod(world, "w-1", worker_deployment(world))
    put_pod(world, "w-2", worker_deployment(world))
    operator.now_s += FIRST_LOOK_S
    return operator


def pod_lists(world: World) -> int:
    return world.calls.count("find Pod")


async def test_status_names_the_component_and_what_its_pods_lack() -> None:
    world = a_world()
    operator = await unready(world)

    for _ in range(2):  # words and counts are written a little later
        await operator.reconcile()
        operator.now_s += AGAIN_S
    await operator.reconcile()

    trouble = "2 pods: container main cannot pull image engine:1.5.0"
    assert f"Worker: 0/2 ready, updating ({trouble})" in ready_condition(world)["message"]
    assert "Frontend: 0/1 ready, updating;" in ready_condition(world)["message"]
    deployed = world.objects[Ref(COMPONENT_DEPLOYMENT, NAMESPACE, worker_deployment(world))]
    assert trouble in condition_of(deployed.document["status"], "Available")["message"]


async def test_pods_of_older_generations_are_not_blamed() -> None:
    world = a_world()
    operator = await unready(world)
    put_pod(world, "old-1", "g-worker-00000000")

    await operator.reconcile()
    operator.now_s += AGAIN_S
    await operator.reconcile()

    assert "2 pods:" in ready_condition(world)["message"]


async def test_pods_are_listed_neither_early_nor_often_nor_once_all_is_well() -> None:
    world = a_world()
    operator = Operator(world)
    await operator.reconcile()
    await operator.reconcile()
    assert pod_lists(world) == 0

    operator.now_s += FIRST_LOOK_S
    for _ in range(5):
        assert await operator.reconcile() is not None
    assert pod_lists(world) == 1

    operator.now_s += AGAIN_S
    await operator.reconcile()
    assert pod_lists(world) == 2

    operator.now_s += AGAIN_S
    await operator.reconcile()
    assert pod_lists(world) == 2, "nothing new was found: the next look waits twice as long"
    put_pod(world, "w-1", worker_deployment(world))
    for _ in range(2):
        operator.now_s += AGAIN_S
        await operator.reconcile()
    assert pod_lists(world) == 4, "something new was found: the next look comes soon again"

    await operator.settle()
    seen = pod_lists(world)
    operator.now_s += 3600
    assert await operator.reconcile() is None
    assert pod_lists(world) == seen


async def test_pods_of_many_graphs_that_start_are_looked_at_later() -> None:
    world = a_world()
    operator = Operator(world)
    operator.slack_s = 30.0
    await operator.reconcile()
    await operator.reconcile()

    operator.now_s += FIRST_LOOK_S + 20
    assert await operator.reconcile() is not None
    assert pod_lists(world) == 0
    operator.now_s += 10
    await operator.reconcile()
    assert pod_lists(world) == 1

    operator.now_s += AGAIN_S + 20
    await operator.reconcile()
    assert pod_lists(world) == 1
    operator.slack_s = 20.0
    await operator.reconcile()
    assert pod_lists(world) == 2, "the others have their pods"


async def test_first_statuses_of_many_graphs_wait_until_they_say_something() -> None:
    world = a_world()
    operator = Operator(world)

    await operator.reconcile()
    operator.slack_s = 30.0
    operator.now_s += FIRST_LATER_S + 20
    await operator.reconcile()
    assert component_statuses(world) == [{}, {}]
    operator.now_s += 10
    await operator.reconcile()
    assert all(component_statuses(world))

    await operator.settle()
    assert [condition_of(each, "Available")["status"] for each in component_statuses(world)] == ["True", "True"]


def component_statuses(world: World) -> list[dict[str, Any]]:
    return [live.document.get("status") or {} for live in world.seen(COMPONENT_DEPLOYMENT)]


async def test_trouble_leaves_the_status_with_its_end() -> None:
    world = a_world()
    operator = await unready(world)
    await operator.reconcile()

    await operator.settle()

    assert status_of(world)["state"] == "successful"
    assert "pull" not in ready_condition(world)["message"]


async def test_operator_that_may_not_list_pods_still_reports(monkeypatch: pytest.MonkeyPatch) -> None:
    world = a_world()
    operator = await unready(world)

    async def refused(*_: Any, **__: Any) -> Any:
        raise Forbidden("pods is forbidden")

    monkeypatch.setattr(world, "find", refused)
    world.put(a_graph_document(a_component("Frontend", "frontend"), a_component(replicas=3)))
    operator.around.diagnostician.forget(graph_ref())
    live = world.objects[graph_ref()].document
    live["metadata"]["annotations"] = {names.OWN_PULL_SECRETS_ONLY: "true"}
    await operator.reconcile()

    assert status_of(world)["observedGeneration"] == 2


async def test_lone_component_deployment_tells_what_its_pods_lack() -> None:
    world = World()
    component = {**a_component("Worker"), "backendFramework": "vllm"}
    document = {"apiVersion": "nvidia.com/v1beta1", "kind": COMPONENT_DEPLOYMENT.name, "metadata": {"name": "alone"}}
    world.put({**document, "spec": component})
    operator, ref = Operator(world), Ref(COMPONENT_DEPLOYMENT, NAMESPACE, "alone")
    for _ in range(2):  # the first status of a component deployment waits for what follows
        await operator.components.reconcile(ref)
        operator.now_s += 2 * AGAIN_S
    put_pod(world, "p", "alone")

    for _ in range(2):
        await operator.components.reconcile(ref)
        operator.now_s += AGAIN_S

    message = condition_of(world.objects[ref].document["status"], "Available")["message"]
    assert "1 pod: container main cannot pull image engine:1.5.0" in message


async def test_graph_is_not_ready_while_one_of_its_objects_is_leaving() -> None:
    """A finalizer of others keeps a deleted Service: it cannot be made anew, and clients lose the frontend."""
    world = a_world()
    operator = Operator(world)
    await operator.settle()

    world.edit(
        Ref(SERVICE, NAMESPACE, "g-frontend"),
        lambda document: document["metadata"].update(deletionTimestamp="2026-01-01T00:00:00Z"),
    )
    assert await operator.reconcile() is not None

    assert status_of(world)["state"] == "pending"
    assert ready_condition(world)["message"] == (
        "Resources not ready: Service g-frontend is being deleted; it is made anew when it is gone"
    )
    world.drop(Ref(SERVICE, NAMESPACE, "g-frontend"))
    await operator.settle()
    assert status_of(world)["state"] == "successful"


async def test_webhook_of_others_that_does_not_answer_is_told_and_tried_again_soon() -> None:
    """Without that a graph would have no status at all, for as long as the webhook is away."""
    world = a_world()
    operator = Operator(world)
    apply = world.apply

    async def blocked(document: Any, *, is_new: bool = False) -> Any:
        if document["kind"] == DEPLOYMENT.name:
            raise Blocked('failed calling webhook "dead.example.com"')
        return await apply(document, is_new=is_new)

    world.apply = blocked  # type: ignore[method-assign]
    again_s = await operator.reconcile()

    assert again_s is not None
    assert again_s <= HINDERED_AGAIN_S
    assert status_of(world)["state"] == "pending"
    assert 'Deployment g-frontend cannot be written: failed calling webhook "dead' in ready_condition(world)["message"]
    world.apply = apply  # type: ignore[method-assign]
    await operator.settle()
    assert status_of(world)["state"] == "successful"


async def test_refusal_is_told_of_its_own_component_deployment_only() -> None:
    """`g-front` is also how the name of its neighbour begins."""
    world = World()
    world.put(a_graph_document(a_component("front", "frontend"), a_component("front-two", None)))
    operator = Operator(world)
    await operator.settle()
    world.drop(Ref(SERVICE, NAMESPACE, "g-front-two"))
    world.put({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "g-front-two"}, "spec": {}})

    await operator.reconcile()

    def available(name: str) -> str:
        status = world.objects[Ref(COMPONENT_DEPLOYMENT, NAMESPACE, name)].document["status"]
        return str(condition_of(status, "Available")["status"])

    assert (available("g-front"), available("g-front-two")) == ("True", "False")


async def test_policy_that_keeps_annotations_from_us_costs_no_status() -> None:
    world = a_world()
    operator = Operator(world)
    patch = world.patch

    async def refused(ref: Ref, operations: Any, *, subresource: str = "") -> Any:
        if ref.kind == GRAPH:
            raise Forbidden("graphs may only be changed by their pipeline")
        return await patch(ref, operations, subresource=subresource)

    world.patch = refused  # type: ignore[method-assign]
    await operator.settle()

    assert status_of(world)["state"] == "successful"


async def test_spec_that_is_refused_does_not_lend_its_generation_to_other_gpus() -> None:
    """A planner trusts the GPUs of a component where the observed generation is the present one."""
    gpus = {"resources": {"limits": {"nvidia.com/gpu": "2"}}}
    world = a_world(main=gpus)
    operator = Operator(world)
    await operator.settle()
    assert status_of(world)["components"]["Worker"]["gpusPerEngine"] == 2

    world.put(a_graph_document(a_component("Frontend", "frontend"), {**a_component(), "replicas": "many"}))
    await operator.reconcile()

    status = status_of(world)
    assert (status["state"], status["observedGeneration"]) == ("failed", 2)
    assert status["components"]["Worker"]["readyReplicas"] == 2
    assert "gpusPerEngine" not in status["components"]["Worker"]


async def test_pods_that_cannot_be_made_are_told_without_looking_at_pods() -> None:
    world = a_world()
    operator = Operator(world)
    await operator.reconcile()
    failure = {"type": "ReplicaFailure", "status": "True", "message": 'pods "x-1" is forbidden: exceeded quota: small'}
    world.edit(
        Ref(DEPLOYMENT, NAMESPACE, worker_deployment(world)),
        lambda document: document.update(status={"observedGeneration": 1, "conditions": [failure]}),
    )

    await operator.reconcile()
    operator.now_s += FIRST_LOOK_S
    await operator.reconcile()

    assert (
        "Worker: 0/2 ready, updating (pods cannot be created: exceeded quota: small)"
        in (ready_condition(world)["message"])
    )
