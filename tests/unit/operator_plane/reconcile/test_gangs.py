"""Graphs on Grove, on a cluster in memory: how their members are scaled, restarted and reported.

A stand-in does that controller's work when told to; Grove's own runs nowhere here.
"""

from __future__ import annotations

from typing import Any

import pytest

from dynamo_operator.kube import Blocked, Document, Forbidden, Gone, Invalid, Kind, KubeError, Live, Ref
from dynamo_operator.kube.objects import GRAPH, POD_CLIQUE, POD_CLIQUE_SCALING_GROUP, POD_CLIQUE_SET
from dynamo_operator.plan.workloads import restart_ids
from dynamo_operator.render import RenderContext
from tests.fakes.grove import Grove
from tests.fakes.kube import Fault
from tests.unit.operator_plane.reconcile.operators import NAMESPACE, Operator, graph_ref, ready_condition, status_of
from tests.unit.operator_plane.reconcile.world import World
from tests.unit.operator_plane.render.factories import a_component, a_graph_document

SET = Ref(POD_CLIQUE_SET, NAMESPACE, "g")
WORKER = Ref(POD_CLIQUE, NAMESPACE, "g-0-worker")
GROUP = Ref(POD_CLIQUE_SCALING_GROUP, NAMESPACE, "g-0-wide")


def a_gang_graph(replicas: int = 2, image: str = "one", **spec: Any) -> Document:
    main = {"image": f"engine-{image}:1.5.0"}
    return a_graph_document(
        a_component("Worker", replicas=replicas, main=main),
        a_component("Wide", replicas=replicas, multinode={"nodeCount": 2}, main=main),
        **spec,
    )


class WorldHands:
    """Grove at work in a world, as its users are."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def find(self, kind: Kind) -> tuple[Live, ...]:
        return self._world.seen(kind)

    async def make(self, document: Document) -> None:
        self._world.put(document)

    async def change(self, live: Live, part: str, value: Document) -> Live:
        def put(document: Document) -> None:
            holder = document["metadata"] if part == "annotations" else document
            holder[part] = value

        return self._world.edit(live.ref, put)

    async def remove(self, live: Live) -> None:
        self._world.drop(live.ref)


class Stage:
    """A world with Grove's kinds, an operator and the stand-in, which work only when called."""

    def __init__(self, document: Document | None = None) -> None:
        self.world = World()
        self.grove = Grove(WorldHands(self.world))
        self.operator = Operator(self.world, context=RenderContext(namespace="", has_grove=True))
        self.world.put(document or a_gang_graph())

    async def pass_(self) -> float | None:
        self.operator.now_s += 11
        return await self.operator.reconcile()

    async def settle(self, rounds: int = 20) -> None:
        for _ in range(rounds):
            before = self.world.tree()
            await self.pass_()
            await self.grove.act()
            if self.world.tree() == before:
                return
        raise AssertionError("still changing")

    def replicas(self, ref: Ref) -> int:
        found: int = self.world.objects[ref].document["spec"]["replicas"]
        return found

    @property
    def state(self) -> Any:
        return status_of(self.world).get("state")

    @property
    def scales(self) -> list[Ref]:
        return [ref for verb, ref in self.world.writes if verb == "patch" and ref.kind != GRAPH]


async def settled() -> Stage:
    stage = Stage()
    await stage.settle()
    stage.world.writes.clear()
    return stage


async def test_gang_becomes_ready_and_then_nothing_is_written() -> None:
    stage = await settled()
    assert stage.state == "successful"
    components = status_of(stage.world)["components"]
    assert (components["Worker"]["componentKind"], components["Worker"]["componentNames"]) == (
        "PodClique",
        ["g-0-worker"],
    )
    assert components["Worker"].items() >= {"replicas": 2, "updatedReplicas": 2, "readyReplicas": 2}.items()
    assert components["Wide"]["componentKind"] == "PodCliqueScalingGroup"
    assert components["Wide"].items() >= {"replicas": 2, "updatedReplicas": 2, "availableReplicas": 2}.items()
    clique = stage.world.objects[WORKER]
    assert stage.operator.graphs.roots_of(clique, stage.operator.view) == (graph_ref(),)

    await stage.pass_()
    assert stage.world.writes == []


@pytest.mark.parametrize("replicas", [5, 1, 0])
async def test_members_are_scaled_and_their_set_is_left_alone(replicas: int) -> None:
    stage = await settled()
    template = stage.world.objects[SET].document["spec"]
    stage.world.put(a_gang_graph(replicas))

    await stage.pass_()

    assert (stage.replicas(WORKER), stage.replicas(GROUP)) == (replicas, replicas)
    assert sorted(stage.scales) == sorted([WORKER, GROUP])
    assert stage.state == "pending"
    assert "being scaled" in ready_condition(stage.world)["message"]
    await stage.settle()
    assert stage.state == "successful"
    assert stage.world.objects[SET].document["spec"] == template
    assert len(stage.scales) == 2


async def test_members_not_made_yet_are_waited_for() -> None:
    stage = Stage()
    await stage.pass_()
    stage.world.put(a_gang_graph(4))

    await stage.pass_()
    assert stage.scales == []
    assert "not created yet" in ready_condition(stage.world)["message"]

    await stage.settle()
    assert stage.replicas(WORKER) == 4
    assert stage.state == "successful"


async def test_what_grove_cannot_do_is_told() -> None:
    stage = Stage()
    await stage.pass_()
    errors = [{"code": "ERR", "description": "no such queue", "observedAt": "2026-01-01T00:00:00Z"}]
    stage.world.edit(SET, lambda document: document.update(status={"lastErrors": errors}))
    for _ in range(2):  # words alone are told a little later
        await stage.pass_()
    assert "Worker: not created yet (Grove: no such queue)" in ready_condition(stage.world)["message"]


async def test_member_made_anew_is_scaled_again() -> None:
    stage = await settled()
    stage.world.put(a_gang_graph(4))
    await stage.settle()
    stage.world.drop(WORKER)

    await stage.grove.act()
    assert stage.replicas(WORKER) == 2
    await stage.settle()

    assert stage.replicas(WORKER) == 4
    assert stage.state == "successful"


async def test_what_others_scale_is_undone() -> None:
    stage = await settled()
    stage.world.edit(WORKER, lambda document: document["spec"].update(replicas=9))
    await stage.settle()
    assert stage.replicas(WORKER) == 2


async def test_member_of_another_owner_is_left_alone() -> None:
    stage = await settled()
    owner = {"apiVersion": "grove.io/v1alpha1", "kind": "PodCliqueSet", "name": "x", "uid": "x", "controller": True}
    stage.world.edit(WORKER, lambda document: document["metadata"].update(ownerReferences=[owner]))
    stage.world.put(a_gang_graph(4))

    await stage.pass_()

    assert stage.replicas(WORKER) == 2
    assert stage.scales == [GROUP]


@pytest.mark.parametrize(
    ("error", "state", "said"),
    [
        pytest.param(Invalid("replicas must not be less than 3"), "failed", "cannot be scaled to 1: replicas", id="no"),
        pytest.param(Forbidden("no right"), "failed", "cannot be scaled to 1: no right", id="denied"),
        pytest.param(Blocked("webhook away"), "pending", "cannot be scaled to 1 now: webhook", id="hindered"),
    ],
)
async def test_scale_that_is_refused_is_told_and_tried_again(error: KubeError, state: str, said: str) -> None:
    stage = await settled()
    stage.world.put(a_gang_graph(1))
    stage.world.faults = [Fault(error)]

    again_after_s = await stage.pass_()

    assert again_after_s is not None
    assert stage.state == state
    assert f"PodClique g-0-worker {said}" in ready_condition(stage.world)["message"]
    assert stage.replicas(GROUP) == 1
    await stage.settle()
    assert stage.state == "successful"


async def test_member_that_went_meanwhile_is_no_failure() -> None:
    stage = await settled()
    stage.world.put(a_gang_graph(1))
    stage.world.faults = [Fault(Gone("not found"))]
    await stage.pass_()
    assert stage.state == "pending"
    assert ready_condition(stage.world)["reason"] == "updating"


async def test_new_template_is_not_ready_before_grove_hands_it_on() -> None:
    """Its members look as ready as before meanwhile."""
    stage = await settled()
    before = status_of(stage.world)["components"]["Worker"]["runtimeNamespace"]
    stage.world.put(a_gang_graph(image="two"))

    for _ in range(3):
        await stage.pass_()
        assert stage.state == "pending"
        worker = status_of(stage.world)["components"]["Worker"]
        assert (worker["updatedReplicas"], worker["readyReplicas"]) == (0, 2)
        assert worker["runtimeNamespace"] == before
        assert status_of(stage.world)["observedGeneration"] == stage.world.objects[graph_ref()].generation

    await stage.grove.act(replaced=1)
    for _ in range(2):  # counts alone are told a little later
        await stage.pass_()
    worker = status_of(stage.world)["components"]["Worker"]
    assert (stage.state, worker["updatedReplicas"], worker["runtimeNamespace"]) == ("pending", 1, before)

    await stage.settle()
    worker = status_of(stage.world)["components"]["Worker"]
    assert (stage.state, worker["updatedReplicas"]) == ("successful", 2)
    assert worker["runtimeNamespace"] != before


def restarting(kind: str) -> Document:
    order = {"order": ["Wide", "Worker"]} if kind == "Sequential" else {}
    return {"restart": {"id": "7", "strategy": {"type": kind, **order}}}


async def test_sequential_restart_waits_until_grove_has_replaced_each_component() -> None:
    stage = await settled()
    stage.world.put(a_gang_graph(**restarting("Sequential")))
    for _ in range(2):  # Grove has not looked yet, then only at the set: members still look ready
        await stage.pass_()
        await stage.grove.see()
        await stage.pass_()
    assert restart_ids(stage.world.objects[SET]) == {"Wide": "7"}
    assert status_of(stage.world)["restart"] == {"observedID": "7", "phase": "Restarting", "inProgress": ["Wide"]}
    assert stage.state == "pending"

    await stage.grove.act(replaced=1)
    await stage.pass_()
    assert restart_ids(stage.world.objects[SET]) == {"Wide": "7"}

    await stage.grove.act()
    await stage.pass_()
    assert restart_ids(stage.world.objects[SET]) == {"Wide": "7", "Worker": "7"}
    assert status_of(stage.world)["restart"]["phase"] == "Restarting"

    await stage.settle()
    assert status_of(stage.world)["restart"] == {"observedID": "7", "phase": "Completed"}
    assert stage.state == "successful"


async def test_parallel_restart_on_grove_takes_all_at_once_and_waits_for_all() -> None:
    stage = await settled()
    stage.world.put(a_gang_graph(**restarting("Parallel")))
    await stage.pass_()
    assert restart_ids(stage.world.objects[SET]) == {"Wide": "7", "Worker": "7"}
    await stage.pass_()
    assert status_of(stage.world)["restart"]["phase"] == "Restarting"
    await stage.settle()
    assert status_of(stage.world)["restart"]["phase"] == "Completed"


async def test_scaling_during_a_restart_loses_neither() -> None:
    stage = await settled()
    stage.world.put(a_gang_graph(3, **restarting("Sequential")))
    await stage.settle()
    assert (stage.replicas(WORKER), stage.replicas(GROUP)) == (3, 3)
    assert restart_ids(stage.world.objects[SET]) == {"Wide": "7", "Worker": "7"}
    assert stage.state == "successful"
