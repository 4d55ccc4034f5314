"""Component deployments without a graph, and whose object's news concern whom."""

from __future__ import annotations

from typing import Any

from dynamo_operator.kube import Ref
from dynamo_operator.kube.objects import COMPONENT_DEPLOYMENT, DEPLOYMENT, SERVICE_ACCOUNT
from dynamo_operator.reconcile.finalizers import FINALIZER
from dynamo_operator.render import names
from tests.unit.operator_plane.reconcile.operators import NAMESPACE, Operator, graph_ref
from tests.unit.operator_plane.reconcile.world import World
from tests.unit.operator_plane.render.factories import a_component, a_graph_document

ALONE = Ref(COMPONENT_DEPLOYMENT, NAMESPACE, "alone")


def a_document(**fields: Any) -> dict[str, Any]:
    return {
        "apiVersion": "nvidia.com/v1beta1",
        "kind": "DynamoComponentDeployment",
        "metadata": {"name": "alone"},
        "spec": a_component("alone", "worker", **fields),
    }


async def settled(world: World) -> Operator:
    operator = Operator(world)
    for _ in range(4):
        await operator.components.reconcile(ALONE)
        world.collect()
        world.run_pods()
        world.make_ready()
        operator.now_s += 11
    return operator


def condition(world: World) -> dict[str, Any]:
    status = world.objects[ALONE].document["status"]
    return next(each for each in status["conditions"] if each["type"] == "Available")


async def test_it_runs_and_says_so() -> None:
    world = World()
    world.put(a_document(replicas=2))

    await settled(world)

    assert condition(world)["status"] == "True"
    assert world.objects[ALONE].document["status"]["component"]["readyReplicas"] == 2
    assert [each.reason for each in world.happened] == ["Ready"]


async def test_change_is_rolled_out_in_place() -> None:
    world = World()
    world.put(a_document())
    await settled(world)

    world.put(a_document(main={"image": "engine-two:1.5.0"}))
    await settled(world)

    (deployment,) = world.seen(DEPLOYMENT)
    assert "engine-two" in str(deployment.document["spec"])
    assert condition(world)["status"] == "True"


async def test_one_that_cannot_be_rendered_names_its_field() -> None:
    world = World()
    world.put(a_document(replicas="two"))

    await settled(world)

    assert "spec.replicas" in condition(world)["message"]
    assert world.seen(DEPLOYMENT) == ()


async def test_it_takes_its_shared_account_along() -> None:
    world = World()
    document = a_document()
    document["spec"]["type"] = "planner"
    world.put(document)
    operator = await settled(world)
    account = world.objects[Ref(SERVICE_ACCOUNT, NAMESPACE, "planner-serviceaccount")]
    assert operator.components.roots_of(account, operator.view) == (ALONE,)

    world.drop(ALONE)
    await settled(world)

    assert world.objects == {}


async def test_objects_lead_to_the_root_that_controls_them() -> None:
    world = World()
    world.put(a_document())
    world.put(a_graph_document(a_component(modelRef={"name": "m"})))
    operator = await settled(world)
    await operator.settle()

    for ref, live in world.objects.items():
        graph_roots, lone_roots = (
            each.roots_of(live, operator.view) for each in (operator.graphs, operator.components)
        )
        if ref.name.startswith("alone"):
            assert (graph_roots, lone_roots) == ((), (ALONE,)), ref
        else:
            assert (graph_roots, lone_roots) == ((graph_ref(),), ()), ref


async def test_child_whose_component_deployment_is_gone_leads_to_its_graph() -> None:
    world = World()
    world.put(a_graph_document(a_component("Frontend", "frontend")))
    operator = Operator(world)
    await operator.settle()
    (deployment,) = world.seen(DEPLOYMENT)
    world.drop(Ref(COMPONENT_DEPLOYMENT, NAMESPACE, deployment.ref.name))

    assert operator.graphs.roots_of(deployment, operator.view) == (graph_ref(),)


async def test_the_finalizer_that_upstream_left_is_taken_off() -> None:
    world = World()
    world.put(a_document())
    world.edit(ALONE, lambda found: found["metadata"].update(finalizers=[FINALIZER, "others/one"]))
    await settled(world)
    assert world.objects[ALONE].document["metadata"]["finalizers"] == ["others/one"]
    assert condition(world)["status"] == "True"


async def test_one_that_ends_is_let_go_and_nothing_else() -> None:
    world = World()
    world.put(a_document())
    ending = {"finalizers": [FINALIZER], "deletionTimestamp": "2026-01-01T00:00:00Z"}
    world.edit(ALONE, lambda found: found["metadata"].update(ending))
    await Operator(world).components.reconcile(ALONE)
    assert world.objects[ALONE].document["metadata"]["finalizers"] == []
    assert world.seen(DEPLOYMENT) == ()


async def test_parts_of_a_graph_that_is_gone_already_are_let_go() -> None:
    world = World()
    owner = {"apiVersion": "nvidia.com/v1beta1", "kind": "DynamoGraphDeployment", "name": "g", "uid": "gone"}
    part = a_document()
    world.put({**part, "metadata": {**part["metadata"], "labels": {names.GRAPH_NAME: "g"}}})
    ending = {"finalizers": [FINALIZER], "deletionTimestamp": "2026-01-01T00:00:00Z"}
    owned = {"ownerReferences": [{**owner, "controller": True}], **ending}
    world.edit(ALONE, lambda found: found["metadata"].update(owned))
    await Operator(world).reconcile("g")
    assert world.objects[ALONE].document["metadata"]["finalizers"] == []
