"""Every version of a graph's status, from its creation to its end, against what the API server held at that moment."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from dynamo_operator.kube import Client, Document, Live
from dynamo_operator.kube.objects import DEPLOYMENT, GRAPH
from dynamo_operator.plan.conditions import condition_of
from dynamo_operator.render import names
from tests.cluster.api.graph_stage import Mortal, Stage
from tests.cluster.local.api_only import ApiCluster
from tests.unit.operator_plane.render.factories import a_component, a_graph_document

ROLLING = ("Pending", "InProgress")
FOLLOWS: Mapping[str | None, tuple[str | None, ...]] = {
    None: (None, *ROLLING),
    "Pending": (*ROLLING, "Completed"),
    "InProgress": ("InProgress", "Completed"),
    "Completed": ("Completed", *ROLLING),
}


@dataclass(frozen=True)
class Version:
    """A graph as it was written, and the Deployments of that moment."""

    graph: Live
    deployments: tuple[Live, ...]

    @property
    def status(self) -> Document:
        status: Document = self.graph.document["status"]
        return status

    @property
    def ready(self) -> Mapping[str, Any]:
        return condition_of(self.status, "Ready")

    @property
    def phase(self) -> str | None:
        return (self.status.get("rollingUpdate") or {}).get("phase")


@dataclass
class Witness:
    """Takes down every status of a graph that a stage writes."""

    kube: Client
    seen: list[Version] = field(default_factory=list)

    def watch(self, mortal: Mortal) -> None:
        write = mortal.apply_status

        async def witnessed(document: Document) -> Live:
            live = await write(document)
            if live.ref.kind == GRAPH:
                self.seen.append(Version(live, await self.kube.find(DEPLOYMENT, live.ref.namespace)))
            return live

        mortal.apply_status = witnessed  # type: ignore[method-assign]


@pytest.fixture
def stage(kube: Client, api_namespace: str) -> Stage:
    return Stage(kube, api_namespace)


@pytest.fixture
def witness(stage: Stage) -> Witness:
    witness = Witness(stage.kube)
    witness.watch(stage.mortal)
    return witness


def a_graph(image: str = "one", *, replicas: int = 2, frontend: str = "1.5.0", **spec: Any) -> Document:
    main = {"image": f"engine-{image}:1.5.0"}
    return a_graph_document(
        a_component("Frontend", "frontend", main={"image": f"front:{frontend}"}),
        a_component("Decode", "decode", replicas=replicas, main=main),
        a_component("Prefill", "prefill", replicas=replicas, main=main),
        **spec,
    )


def check_alone(version: Version) -> None:
    """What holds of a status by itself."""
    status, generation = version.status, version.graph.generation
    components = version.graph.document["spec"]["components"]
    assert status["observedGeneration"] <= generation
    assert version.ready["observedGeneration"] == status["observedGeneration"]
    assert (status["state"] == "successful") == (version.ready["status"] == "True")
    assert set(status["components"]) == {each["name"] for each in components}
    for name, counts in status["components"].items():
        assert counts["updatedReplicas"] <= counts["replicas"], name
        assert version.graph.ref.name in counts["runtimeNamespace"], name


def check_success(version: Version) -> None:
    """A graph is successful with what its present spec asks for and nothing else."""
    wanted = {each["name"]: each["replicas"] for each in version.graph.document["spec"]["components"]}
    images = {
        each["name"]: each["podTemplate"]["spec"]["containers"][0]["image"]
        for each in version.graph.document["spec"]["components"]
    }
    assert version.phase not in ROLLING
    found = [each for each in version.deployments if not each.is_terminating]
    assert sorted(each.labels[names.COMPONENT] for each in found) == sorted(wanted)
    for each in found:
        name, status = each.labels[names.COMPONENT], each.document["status"]
        assert each.document["spec"]["template"]["spec"]["containers"][0]["image"] == images[name]
        assert status["observedGeneration"] == each.generation
        assert status["availableReplicas"] == status["updatedReplicas"] == status["replicas"] == wanted[name]


def check_step(before: Version, after: Version) -> None:
    """What holds between two statuses."""
    assert before.status["observedGeneration"] <= after.status["observedGeneration"]
    is_same = before.ready["status"] == after.ready["status"]
    assert is_same or before.ready["lastTransitionTime"] <= after.ready["lastTransitionTime"]
    if is_same:
        assert before.ready["lastTransitionTime"] == after.ready["lastTransitionTime"]
    assert after.phase in FOLLOWS[before.phase]


def check(seen: list[Version]) -> None:
    for version in seen:
        check_alone(version)
        if version.status["state"] == "successful":
            check_success(version)
    for before, after in itertools.pairwise(seen):
        check_step(before, after)


def with_replicas(document: Document) -> Document:
    """As admission completes it."""
    for each in document["spec"]["components"]:
        each.setdefault("replicas", 1)
    return document


async def test_every_status_is_true_through_a_whole_life(
    api_cluster: ApiCluster, stage: Stage, witness: Witness
) -> None:
    """Create, roll, revert in the middle, scale both ways, edit in place, restart, lose pods."""

    def apply(document: Document) -> None:
        api_cluster.apply(with_replicas(document), namespace=stage.namespace)

    async def settle() -> None:
        await stage.until("g", lambda each: each.is_successful("g"))

    apply(a_graph())
    await settle()
    apply(a_graph("two"))
    await stage.pass_("g")
    await stage.make_ready()
    await stage.pass_("g")
    apply(a_graph("three"))
    await stage.pass_("g")
    await stage.pass_("g")
    assert witness.seen[-1].phase == "InProgress"
    apply(a_graph("two"))
    await settle()
    assert witness.seen[-1].phase == "Completed"
    apply(a_graph("two", replicas=4))
    await settle()
    apply(a_graph("two"))
    await settle()
    apply(a_graph("two", frontend="1.5.1"))
    await settle()
    apply(a_graph("two", frontend="1.5.1", restart={"id": "again"}))
    await settle()
    api_cluster.kubectl("delete", "pods", "--all", "-n", stage.namespace, "--grace-period=0", "--force")
    await stage.pass_("g")
    await settle()

    check(witness.seen)
    states = [version.status["state"] for version in witness.seen]
    assert states.count("successful") >= 7, states
    told = stage.mortal.reasons
    assert [told.count(f"RollingUpdate{what}") for what in ("Started", "Completed")] == [1, 1], told
    assert [told.count(f"Restart{what}") for what in ("Started", "Completed")] == [1, 1], told
