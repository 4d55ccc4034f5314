"""A graph's life on a cluster in memory: created, edited, drifting, conflicting, deleted."""

from __future__ import annotations

from typing import Any

from dynamo_operator.kube import Ref
from dynamo_operator.kube.objects import CLAIM, DEPLOYMENT, SCALING_ADAPTER, SERVICE, SERVICE_ACCOUNT
from tests.unit.operator_plane.reconcile.operators import (
    NAMESPACE,
    Operator,
    component_deployments,
    deployments,
    graph_ref,
    ready_condition,
    replicas,
    status_of,
)
from tests.unit.operator_plane.reconcile.world import World
from tests.unit.operator_plane.render.factories import a_component, a_graph_document

CLAIMING = (
    '{"version":1,"spec":{"pvcs":[{"name":"cache","create":true,"size":"1Gi","storageClass":"s",'
    '"volumeAccessMode":"ReadWriteMany"}]}}'
)


def a_frontend(**fields: Any) -> dict[str, Any]:
    return a_component("Frontend", "frontend", **fields)


def a_world(*components: dict[str, Any], name: str = "g", **spec: Any) -> World:
    world = World()
    world.put(a_graph_document(*(components or (a_frontend(), a_component(replicas=2))), name=name, **spec))
    return world


async def test_created_graph_becomes_ready_with_all_its_objects() -> None:
    world = a_world()

    await Operator(world).settle()

    assert status_of(world)["state"] == "successful"
    assert status_of(world)["observedGeneration"] == 1
    kinds = sorted(ref.kind.name for ref in world.objects)
    assert kinds == sorted(
        ["DynamoGraphDeployment", "ServiceAccount", "Role", "RoleBinding", "ServiceAccount", "RoleBinding"]
        + ["DynamoComponentDeployment", "Deployment", "Service"] * 2
    )


async def test_graph_is_not_ready_before_its_pods_are() -> None:
    world = a_world()
    operator = Operator(world)

    await operator.reconcile()
    world.run_pods()
    await operator.reconcile()

    assert status_of(world)["state"] == "pending"
    assert ready_condition(world)["reason"] == "some_resources_are_not_ready"
    assert "Worker" in ready_condition(world)["message"]


async def test_pass_without_news_makes_no_call() -> None:
    world = a_world()
    await Operator(world).settle()

    world.calls.clear()
    again = Operator(world)  # a restarted operator has no memory to save it calls
    wait = await again.reconcile()

    assert [call for call in world.calls if not call.startswith("find Secret")] == []
    assert wait is None


async def test_hundred_graphs_would_cost_at_most_25_calls_each() -> None:
    world = a_world(a_frontend(), a_component("Decode", "decode"), a_component("Prefill", "prefill"))
    operator = Operator(world)
    await operator.reconcile()
    for _ in range(4):  # pods come up while the graph is looked at again and again
        world.run_pods()
        await operator.reconcile()
        operator.now_s += 1
    world.make_ready()
    await operator.reconcile()

    assert status_of(world)["state"] == "successful"
    assert len(world.calls) <= 25, world.calls


async def test_edit_by_others_is_undone() -> None:
    world = a_world()
    operator = Operator(world)
    await operator.settle()
    ref = Ref(SERVICE, NAMESPACE, "g-frontend")

    world.edit(ref, lambda document: document["spec"]["ports"][0].update(port=1234))
    await operator.reconcile()

    assert world.objects[ref].document["spec"]["ports"][0]["port"] == 8000


async def test_deleted_child_comes_back() -> None:
    world = a_world()
    operator = Operator(world)
    await operator.settle()
    before = world.tree()

    world.drop(Ref(DEPLOYMENT, NAMESPACE, "g-frontend"))
    await operator.settle()

    assert world.tree() == before


async def test_scaling_changes_replicas_and_no_generation() -> None:
    world = a_world()
    operator = Operator(world)
    await operator.settle()
    names = component_deployments(world)

    world.put(a_graph_document(a_frontend(), a_component(replicas=5)))
    await operator.settle()

    assert component_deployments(world) == names
    assert sorted(replicas(world).values()) == [1, 5]
    assert status_of(world)["components"]["Worker"]["readyReplicas"] == 5


async def test_foreign_object_is_reported_and_left_alone_and_the_rest_goes_on() -> None:
    world = a_world()
    foreign = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "g-frontend"}, "spec": {"ports": []}}
    world.put(foreign)

    wait = await Operator(world).reconcile()

    assert world.objects[Ref(SERVICE, NAMESPACE, "g-frontend")].document["spec"] == {"ports": []}
    assert len(deployments(world)) == 2
    assert status_of(world)["state"] == "failed"
    assert "Service g-frontend exists and has no owner" in ready_condition(world)["message"]
    assert [event.reason for event in world.happened] == ["OwnershipConflict"]
    assert wait is not None


async def test_conflict_is_told_once_and_ends_with_its_cause() -> None:
    world = a_world()
    world.put({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "g-frontend"}, "spec": {"ports": []}})
    operator = Operator(world)
    for _ in range(3):
        await operator.reconcile()
        operator.now_s += 30

    world.drop(Ref(SERVICE, NAMESPACE, "g-frontend"))
    await operator.settle()

    assert [event.reason for event in world.happened].count("OwnershipConflict") == 1
    assert status_of(world)["state"] == "successful"


async def test_children_of_a_deleted_predecessor_are_waited_for() -> None:
    world = a_world()
    operator = Operator(world)
    await operator.settle()
    world.drop(graph_ref())
    world.put(a_graph_document(a_frontend(), a_component(replicas=2)))

    await operator.reconcile()
    assert not any(event.is_warning for event in world.happened)
    world.collect()
    await operator.settle()

    uid = world.objects[graph_ref()].uid
    assert {live.controller_uid for live in operator.view.controlled_by(uid)} == {uid}
    assert status_of(world)["state"] == "successful"


async def test_users_own_planner_account_is_used_as_it_is() -> None:
    world = a_world()
    world.put({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "planner-serviceaccount"}})

    await Operator(world).settle()

    assert status_of(world)["state"] == "successful"
    assert world.objects[Ref(SERVICE_ACCOUNT, NAMESPACE, "planner-serviceaccount")].applied == {}


async def test_last_graph_of_a_namespace_takes_the_shared_objects_along() -> None:
    world = a_world(a_component(modelRef={"name": "m"}), name="a")
    world.put(a_graph_document(a_component(modelRef={"name": "m"}), name="b"))
    operator = Operator(world)
    await operator.settle("a", "b")
    service = next(ref for ref in world.objects if ref.name.startswith("dynamo-model-"))
    assert world.objects[service].controller_uid is None

    world.drop(graph_ref("a"))
    await operator.settle("a", "b")
    assert service in world.objects
    assert status_of(world, "b")["state"] == "successful"

    world.drop(graph_ref("b"))
    await operator.settle("a", "b")
    assert world.objects == {}


async def test_shared_object_without_graph_calls_for_a_pass_that_removes_it() -> None:
    world = a_world()
    operator = Operator(world)
    await operator.settle()
    world.drop(graph_ref())
    world.collect()
    account = world.objects[Ref(SERVICE_ACCOUNT, NAMESPACE, "planner-serviceaccount")]

    (root,) = Operator(world).graphs.roots_of(account, operator.view)
    await operator.graphs.reconcile(root)

    assert world.objects == {}


async def test_component_that_leaves_the_graph_is_deleted() -> None:
    world = a_world(a_frontend(), a_component("Extra", None), a_component())
    operator = Operator(world)
    await operator.settle()

    world.put(a_graph_document(a_frontend(), a_component()))
    await operator.settle()

    assert not any("extra" in name for name in component_deployments(world))
    assert status_of(world)["state"] == "successful"


async def test_adapter_keeps_the_replicas_that_somebody_scaled_to() -> None:
    world = a_world(a_component(scalingAdapter={}))
    operator = Operator(world)
    await operator.settle()
    ref = Ref(SCALING_ADAPTER, NAMESPACE, "g-worker")

    world.edit(ref, lambda document: document["spec"].update(replicas=7))
    await operator.settle()

    assert world.objects[ref].document["spec"]["replicas"] == 7


async def test_adapters_other_fields_are_restored_without_scaling_it_back() -> None:
    world = a_world(a_component(scalingAdapter={}))
    operator = Operator(world)
    await operator.settle()
    ref = Ref(SCALING_ADAPTER, NAMESPACE, "g-worker")
    labels = world.objects[ref].labels

    world.edit(ref, lambda document: (document["spec"].update(replicas=7), document["metadata"].update(labels={})))
    await operator.settle()

    assert world.objects[ref].document["spec"]["replicas"] == 7
    assert world.objects[ref].labels == labels


async def test_nothing_is_made_beneath_a_foreign_component_deployment() -> None:
    world = a_world()
    foreign = {"apiVersion": "nvidia.com/v1beta1", "kind": "DynamoComponentDeployment", "spec": {}}
    world.put({**foreign, "metadata": {"name": "g-frontend"}})

    await Operator(world).reconcile()

    assert "g-frontend" not in deployments(world)
    assert "DynamoComponentDeployment g-frontend exists" in ready_condition(world)["message"]


async def test_adapter_ends_when_its_component_asks_for_none() -> None:
    world = a_world(a_component(scalingAdapter={}))
    operator = Operator(world)
    await operator.settle()

    world.put(a_graph_document(a_component()))
    await operator.settle()

    assert Ref(SCALING_ADAPTER, NAMESPACE, "g-worker") not in world.objects
    assert "AdapterDeleted" in [event.reason for event in world.happened]


async def test_claim_is_kept_when_the_graph_no_longer_asks_for_it() -> None:
    world = a_world(a_component(), annotations_={"nvidia.com/dgd-spec": CLAIMING})
    operator = Operator(world)
    await operator.settle()
    ref = Ref(CLAIM, NAMESPACE, "cache")
    assert world.objects[ref].controller_uid == world.objects[graph_ref()].uid

    world.put(a_graph_document(a_component()))
    await operator.settle()

    assert ref in world.objects


async def test_claim_that_is_there_stays_as_it_is() -> None:
    """Its users grow it, and an API server refuses every other change of it."""
    world = a_world(a_component(), annotations_={"nvidia.com/dgd-spec": CLAIMING})
    operator = Operator(world)
    await operator.settle()
    before = world.objects[Ref(CLAIM, NAMESPACE, "cache")]

    world.put(a_graph_document(a_component(), annotations_={"nvidia.com/dgd-spec": CLAIMING.replace("1Gi", "2Gi")}))
    await operator.settle()

    assert world.objects[Ref(CLAIM, NAMESPACE, "cache")] == before
    assert status_of(world)["state"] == "successful"


async def test_graph_that_cannot_be_rendered_fails_with_its_field_and_leaves_what_runs() -> None:
    world = a_world()
    operator = Operator(world)
    await operator.settle()
    running = replicas(world)

    world.put(a_graph_document(a_frontend(), a_component(replicas="two")))
    wait = await operator.reconcile()

    assert status_of(world)["state"] == "failed"
    assert ready_condition(world)["reason"] == "ValidationFailed"
    assert "spec.components[1].replicas" in ready_condition(world)["message"]
    assert replicas(world) == running
    assert wait is None
    assert [event.reason for event in world.happened if event.is_warning] == ["ValidationFailed"]


async def test_generation_is_noted_for_other_clients_and_never_read() -> None:
    world = a_world()
    operator = Operator(world)
    await operator.settle()
    annotations = world.objects[graph_ref()].annotations
    assert annotations["nvidia.com/current-worker-hash-v2"] in next(
        name for name in component_deployments(world) if "worker" in name
    )
    before = world.tree()

    world.edit(graph_ref(), lambda document: document["metadata"].update(annotations={}))
    await operator.settle()

    assert world.tree() == before


async def test_port_that_took_the_name_of_ours_makes_way() -> None:
    """The API server takes no apply that would leave both: they have one name and two numbers."""
    world = a_world()
    operator = Operator(world)
    await operator.settle()
    ref = Ref(SERVICE, NAMESPACE, "g-frontend")
    ours = world.objects[ref].document["spec"]["ports"]
    world.edit(ref, lambda document: document["spec"].update(ports=[{"name": "http", "port": 80}]))

    world.calls.clear()
    await operator.reconcile()

    assert world.objects[ref].document["spec"]["ports"] == ours
    assert f"patch {ref}" in world.calls
    world.calls.clear()
    await operator.settle()
    assert f"patch {ref}" not in world.calls
