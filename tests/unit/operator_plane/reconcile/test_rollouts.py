"""Rolling worker generations on a cluster in memory: step by step, and at random against invariants."""

from __future__ import annotations

import asyncio
from typing import Any
from zlib import crc32

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from dynamo_operator.kube import Ref
from dynamo_operator.kube.objects import COMPONENT_DEPLOYMENT, DEPLOYMENT
from dynamo_operator.plan.rollout import limits
from dynamo_operator.render import names
from tests.unit.operator_plane.reconcile.operators import (
    NAMESPACE,
    Operator,
    component_deployments,
    graph_ref,
    ready_condition,
    replicas,
    status_of,
)
from tests.unit.operator_plane.reconcile.world import Admitting, World
from tests.unit.operator_plane.render.factories import a_component, a_graph_document

Document = dict[str, Any]


def a_graph(image: str, *, replicas: int = 4, has_frontend: bool = True, **annotations: str) -> Document:
    keys = {"surge": names.MAX_SURGE, "unavailable": names.MAX_UNAVAILABLE, "strategy": names.STRATEGY}
    template = {"metadata": {"annotations": {keys[key]: value for key, value in annotations.items()}}}
    worker = a_component(replicas=replicas, main={"image": f"engine-{image}:1.5.0"}, template=template)
    frontends = [a_component("Frontend", "frontend")] if has_frontend else []
    return a_graph_document(*frontends, worker)


def a_pair(image: str, decodes: int = 2, prefills: int = 2) -> Document:
    """A disaggregated graph."""
    main = {"image": f"engine-{image}:1.5.0"}
    return a_graph_document(
        a_component("Decode", "decode", replicas=decodes, main=main),
        a_component("Prefill", "prefill", replicas=prefills, main=main),
    )


async def a_running(document: Document) -> tuple[World, Operator]:
    world = World()
    world.put(document)
    operator = Operator(world)
    await operator.settle()
    return world, operator


def workers(world: World) -> dict[str, int]:
    """Replicas of worker Deployments, oldest generation first."""
    found = [live for live in world.seen(COMPONENT_DEPLOYMENT) if names.WORKER_HASH in live.labels]
    ordered = sorted(found, key=lambda live: live.document["metadata"]["creationTimestamp"])
    counts = replicas(world)
    return {live.ref.name: counts[live.ref.name] for live in ordered if live.ref.name in counts}


async def step(world: World, operator: Operator) -> list[int]:
    """One pass, pods following; the worker replicas that it chose."""
    await operator.reconcile()
    chosen = list(workers(world).values())
    world.collect()
    world.run_pods()
    world.make_ready()
    return chosen


async def test_new_generation_replaces_the_old_within_surge_and_unavailability() -> None:
    world, operator = await a_running(a_graph("one"))
    (old,) = workers(world)

    world.put(a_graph("two"))
    seen = []
    while list(workers(world)) == [old] or len(workers(world)) > 1:
        seen.append(await step(world, operator))
        assert len(seen) < 20

    assert seen[0] == [3, 1]
    assert all(sum(counts) <= 5 for counts in seen)
    assert old not in workers(world)
    assert list(workers(world).values()) == [4]


async def test_graph_is_not_ready_during_a_rollout_and_says_completed_after() -> None:
    world, operator = await a_running(a_graph("one"))
    old_namespace = status_of(world)["components"]["Worker"]["runtimeNamespace"]

    world.put(a_graph("two"))
    await step(world, operator)

    assert status_of(world)["state"] == "pending"
    assert ready_condition(world)["reason"] == "rolling_update_in_progress"
    assert status_of(world)["rollingUpdate"]["phase"] == "InProgress"
    assert status_of(world)["components"]["Worker"]["runtimeNamespace"] == old_namespace
    assert len(status_of(world)["components"]["Worker"]["componentNames"]) == 2

    await operator.settle()

    assert status_of(world)["state"] == "successful"
    assert status_of(world)["rollingUpdate"]["phase"] == "Completed"
    assert status_of(world)["rollingUpdate"]["updatedComponents"] == ["Worker"]
    assert status_of(world)["components"]["Worker"]["runtimeNamespace"] != old_namespace
    reasons = [event.reason for event in world.happened]
    assert [reasons.count(each) for each in ("RollingUpdateStarted", "RollingUpdateCompleted")] == [1, 1]


async def test_old_workers_stay_until_the_frontends_know_the_new_ones() -> None:
    world, operator = await a_running(a_graph("one"))
    (old,) = workers(world)
    world.put(a_graph("two"))
    await step(world, operator)
    operator.admission.unknown = set(workers(world)) - {old}

    for _ in range(10):
        await step(world, operator)
        operator.now_s += 20
    held = workers(world)[old]
    operator.admission.unknown = set()
    await operator.settle()

    assert held == 3
    assert old not in workers(world)


async def test_silent_frontends_hold_a_rollout_for_a_minute_and_then_readiness_decides() -> None:
    world, operator = await a_running(a_graph("one"))
    (old,) = workers(world)
    operator.admission.is_silent = True
    world.put(a_graph("two"))
    for _ in range(5):
        await step(world, operator)
        operator.now_s += 10
    held = workers(world)[old]

    operator.now_s += 60
    await operator.settle()

    assert held == 3
    assert old not in workers(world)
    assert [event.reason for event in world.happened if event.is_warning] == ["AdmissionUnknown"]


async def test_without_frontends_readiness_alone_decides() -> None:
    world, operator = await a_running(a_graph("one", has_frontend=False))
    operator.admission.is_silent = True

    world.put(a_graph("two", has_frontend=False))
    await operator.settle()

    assert list(workers(world).values()) == [4]


async def test_revert_in_the_middle_keeps_what_serves() -> None:
    world, operator = await a_running(a_graph("one"))
    (first,) = workers(world)
    world.put(a_graph("two"))
    for _ in range(2):
        await step(world, operator)
    world.put(a_graph("one"))

    while len(workers(world)) > 1:
        serving = sum(world.ready(Ref(DEPLOYMENT, NAMESPACE, name)) for name in workers(world))
        assert serving >= 3
        await step(world, operator)
    await operator.settle()

    assert workers(world) == {first: 4}


async def test_image_that_never_starts_costs_no_more_than_max_unavailable_and_a_fix_heals() -> None:
    world, operator = await a_running(a_graph("one"))
    (first,) = workers(world)
    world.put(a_graph("broken"))
    for _ in range(8):
        await operator.reconcile()
        world.collect()
        world.run_pods()
    assert world.ready(Ref(DEPLOYMENT, NAMESPACE, first)) == 3

    world.put(a_graph("fixed"))
    await operator.settle()

    assert list(workers(world).values()) == [4]
    assert status_of(world)["state"] == "successful"


async def test_decode_workers_of_the_new_generation_do_not_count_before_its_prefill_workers() -> None:
    world, operator = await a_running(a_pair("one"))
    world.put(a_pair("two"))
    for _ in range(6):
        await operator.reconcile()
        world.run_pods()
        new = {ref.name for ref in world.pods if ref.name.startswith("g-decode")} - {"g-prefill"}
        world.make_ready(lambda ref, _pod, new=new: ref.name in new)  # decode starts, prefill never does

    ready = {ref.name: world.ready(ref) for ref in world.pods}
    old_ones = [name for name in ready if name.startswith("g-decode") and name in list(workers(world))[:2]]
    assert ready[old_ones[0]] == 2


async def test_last_old_worker_waits_for_the_other_role() -> None:
    world, operator = await a_running(a_pair("one"))
    old = list(workers(world))
    world.put(a_pair("two"))
    for _ in range(12):
        await operator.reconcile()
        world.collect()
        world.run_pods()
        # One of two new prefill workers starts, so prefill cannot end its old ones; decode could.
        for ref, pods in world.pods.items():
            for number, pod in enumerate(pods):
                pod.is_ready = pod.is_ready or not (ref.name.startswith("g-prefill") and ref.name not in old and number)
        world.make_ready(lambda _ref, _pod: False)

    left = {name: world.ready(Ref(DEPLOYMENT, NAMESPACE, name)) for name in old}
    assert all(left.values()), left


async def test_recreate_waits_until_the_old_pods_are_gone() -> None:
    world, operator = await a_running(a_graph("one", strategy="Recreate"))
    (old,) = workers(world)
    ending = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "labels": {names.SELECTOR: old}}}
    world.put(ending)
    world.put(a_graph("two", strategy="Recreate"))

    for _ in range(5):
        counts = await step(world, operator)
    assert counts == [0, 0]

    world.drop(next(ref for ref in world.objects if ref.kind.name == "Pod"))
    await operator.settle()
    assert list(workers(world).values()) == [4]


async def test_stripped_annotations_change_nothing_in_a_rollout() -> None:
    world, operator = await a_running(a_graph("one"))
    world.put(a_graph("two"))
    await step(world, operator)
    before = workers(world)

    for ref in list(world.objects):
        if ref.kind in (COMPONENT_DEPLOYMENT, graph_ref().kind):
            world.edit(ref, lambda document: document["metadata"].pop("annotations", None))
    await Operator(world).reconcile()

    assert list(workers(world)) == list(before)
    await Operator(world).settle()
    assert list(workers(world).values()) == [4]


async def test_worker_component_that_leaves_the_graph_is_drained_with_its_generation() -> None:
    world, operator = await a_running(a_pair("one"))

    world.put(a_graph_document(a_component("Decode", "decode", replicas=2, main={"image": "engine-one:1.5.0"})))
    await operator.settle()

    assert [name.split("-")[1] for name in component_deployments(world)] == ["decode"]
    assert status_of(world)["state"] == "successful"


async def test_pods_of_another_generation_never_make_a_graph_successful() -> None:
    world, operator = await a_running(a_graph("one"))
    world.put(a_graph("two"))
    for _ in range(10):
        await operator.reconcile()
        world.run_pods()
        assert status_of(world)["state"] == "pending"


class Rollouts(RuleBasedStateMachine):
    """Any order of edits, passes, pods, restarts of the operator and strippings."""

    @initialize(
        surge=st.sampled_from(["0", "1", "25%", "100%"]),
        unavailable=st.sampled_from(["0", "1", "25%", "50%"]),
        is_pair=st.booleans(),
    )
    def start(self, surge: str, unavailable: str, is_pair: bool) -> None:
        self.annotations = {names.MAX_SURGE: surge, names.MAX_UNAVAILABLE: unavailable}
        self.is_pair = is_pair
        self.desired = 3
        self.image = "a"
        self.world = World()
        self._put()
        self.admission = Admitting(self.world)
        self.operator = Operator(self.world, self.admission)
        asyncio.run(self.operator.settle())

    @rule(image=st.sampled_from("abc"))
    def change_image(self, image: str) -> None:
        self.image = image
        self._put()

    @rule(desired=st.integers(0, 5))
    def scale(self, desired: int) -> None:
        self.desired = desired
        self._put()

    @rule()
    def look(self) -> None:
        before, running = self._counts(), self._ready()
        asyncio.run(self.operator.reconcile())
        after = self._counts()
        surge, unavailable = self._limits()
        for component in before:
            kept = sum(min(count, running.get(name, 0)) for name, count in after[component].items())
            had = sum(min(count, running.get(name, 0)) for name, count in before[component].items())
            assert kept >= min(had, self.desired - unavailable), (component, before, after, running)
            most = max(sum(before[component].values()), self.desired + surge)
            assert sum(after[component].values()) <= most, (component, before, after)
        if status_of(self.world)["state"] == "successful":
            assert {name for counts in after.values() for name in counts} == self._current()

    @rule()
    def run_pods(self) -> None:
        self.world.collect()
        self.world.run_pods()

    @rule(share=st.integers(0, 2), is_ready=st.sampled_from([True, True, True, False]))
    def change_readiness(self, share: int, is_ready: bool) -> None:
        self.world.make_ready(lambda _ref, pod: crc32(pod.name.encode()) % 3 >= share, is_ready=is_ready)

    @rule()
    def restart_operator(self) -> None:
        self.operator = Operator(self.world, self.admission, now_s=self.operator.now_s + 5)

    @rule()
    def strip_annotations(self) -> None:
        self.world.edit(graph_ref(), lambda document: document["metadata"].pop("annotations", None))

    @invariant()
    def check_nothing_foreign_happened(self) -> None:
        if hasattr(self, "world"):
            assert not any(event.is_warning for event in self.world.happened), self.world.happened

    def teardown(self) -> None:
        if not hasattr(self, "operator"):
            return
        asyncio.run(self.operator.settle(rounds=80))
        assert status_of(self.world)["state"] == "successful"
        assert set(workers(self.world)) == self._current()
        assert set(workers(self.world).values()) == {self.desired}

    def _put(self) -> None:
        template = {"metadata": {"annotations": self.annotations}}
        main = {"image": f"engine-{self.image}:1.5.0"}
        roles = [("Decode", "decode"), ("Prefill", "prefill")] if self.is_pair else [("Worker", "worker")]
        components = [a_component(*role, replicas=self.desired, main=main, template=template) for role in roles]
        self.world.put(a_graph_document(a_component("Frontend", "frontend"), *components))

    def _limits(self) -> tuple[int, int]:
        found = limits(self.desired, self.annotations)
        return found.surge, found.unavailable

    def _counts(self) -> dict[str, dict[str, int]]:
        """Replicas by component and worker Deployment."""
        counts: dict[str, dict[str, int]] = {}
        for live in self.world.seen(COMPONENT_DEPLOYMENT):
            if names.WORKER_HASH in live.labels and live.ref.name in replicas(self.world):
                component = counts.setdefault(live.labels[names.COMPONENT], {})
                component[live.ref.name] = replicas(self.world)[live.ref.name]
        return counts

    def _ready(self) -> dict[str, int]:
        return {ref.name: self.world.ready(ref) for ref in self.world.pods}

    def _current(self) -> set[str]:
        """Worker component deployments of the present image."""
        return {
            live.ref.name
            for live in self.world.seen(COMPONENT_DEPLOYMENT)
            if f"engine-{self.image}:" in str(live.document["spec"]) and names.WORKER_HASH in live.labels
        }


Rollouts.TestCase.settings = settings(
    max_examples=60, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)


@pytest.mark.timeout(300)
class TestRollouts(Rollouts.TestCase):
    """Runs the machine."""
