"""Graphs on a real API server with its real controllers; only the kubelet is pretended."""

from __future__ import annotations

from typing import Any

import pytest

from dynamo_operator.kube import Client
from dynamo_operator.kube.objects import COMPONENT_DEPLOYMENT, DEPLOYMENT, SERVICE
from dynamo_operator.render import names
from tests.cluster.api.graph_stage import Stage
from tests.cluster.local.api_only import ApiCluster
from tests.unit.operator_plane.render.factories import a_component, a_graph_document

Document = dict[str, Any]


@pytest.fixture
def stage(kube: Client, api_namespace: str) -> Stage:
    return Stage(kube, api_namespace)


def a_graph(image: str = "one", *, replicas: int = 2, label: str = "a") -> Document:
    """A disaggregated graph with an adapter, a model and resources that the API server writes in its own way."""
    resources = {"limits": {"cpu": "0.5", "memory": "1024Mi"}, "requests": {"cpu": "0.25"}}
    main = {"image": f"engine-{image}:1.5.0", "resources": resources, "env": [{"name": "EMPTY", "value": ""}]}
    return a_graph_document(
        a_component("Frontend", "frontend"),
        a_component("Decode", "decode", replicas=replicas, main=main, scalingAdapter={}, modelRef={"name": "m"}),
        a_component("Prefill", "prefill", replicas=replicas, main=main),
        labels={"team": label},
    )


async def test_graph_lives_and_leaves_nothing(api_cluster: ApiCluster, stage: Stage) -> None:
    api_cluster.apply(a_graph(), namespace=stage.namespace)
    await stage.until("g", lambda each: each.is_successful("g"))
    first = {live.ref.name for live in stage.store.find(COMPONENT_DEPLOYMENT)}

    api_cluster.apply(a_graph("two", replicas=3), namespace=stage.namespace)
    await stage.until("g", lambda each: each.is_successful("g"))
    second = {live.ref.name for live in stage.store.find(COMPONENT_DEPLOYMENT)}

    assert first & second == {"g-frontend"}
    assert len(second) == 3
    counts = {live.labels[names.COMPONENT]: live.document["spec"]["replicas"] for live in stage.store.find(DEPLOYMENT)}
    assert counts == {"Frontend": 1, "Decode": 2, "Prefill": 3}, "only Decode's adapter scales it"
    assert "RollingUpdateCompleted" in stage.mortal.reasons

    api_cluster.kubectl("delete", "dgd", "g", "-n", stage.namespace, "--wait=false")
    await stage.until("g", lambda each: each.graph("g") is None and each.tree() == {})


async def test_new_process_finds_nothing_to_write(api_cluster: ApiCluster, stage: Stage) -> None:
    api_cluster.apply(a_graph(), namespace=stage.namespace)
    await stage.until("g", lambda each: each.is_successful("g"))

    stage.mortal.writes.clear()
    stage.restart()
    for _ in range(2):
        await stage.pass_("g")

    assert stage.mortal.writes == []


async def test_drift_is_undone(api_cluster: ApiCluster, stage: Stage) -> None:
    api_cluster.apply(a_graph(), namespace=stage.namespace)
    await stage.until("g", lambda each: each.is_successful("g"))
    before = stage.tree()

    api_cluster.kubectl("scale", "deployment", "g-frontend", "-n", stage.namespace, "--replicas=9")
    api_cluster.kubectl(
        "label", "service", "g-frontend", "-n", stage.namespace, f"{names.COMPONENT}=other", "--overwrite"
    )
    await stage.until("g", lambda each: each.is_successful("g") and each.tree() == before)


async def test_foreign_service_is_left_alone(api_cluster: ApiCluster, stage: Stage) -> None:
    api_cluster.kubectl("create", "service", "clusterip", "g-frontend", "--tcp=80", "-n", stage.namespace)
    api_cluster.apply(a_graph(), namespace=stage.namespace)

    await stage.pass_("g")
    await stage.store.refresh()

    live = next(each for each in stage.store.find(SERVICE) if each.ref.name == "g-frontend")
    assert live.applied == {}
    graph = stage.graph("g")
    assert graph is not None
    assert graph.document["status"]["state"] == "failed"
    assert stage.mortal.reasons == ["OwnershipConflict"]


async def test_processes_that_end_after_every_write_reach_the_same_objects(
    api_cluster: ApiCluster, kube: Client
) -> None:
    """Create, update, scale, roll and delete, by an operator that lives for one write at a time."""
    with api_cluster.namespace() as quiet, api_cluster.namespace() as mortal:
        stages = [Stage(kube, quiet), Stage(kube, mortal)]
        for document in (
            a_graph(),
            a_graph(label="b"),
            a_graph("one", label="b", replicas=3),
            a_graph("two", label="b"),
        ):
            for stage, allowed in zip(stages, (None, 1), strict=True):
                api_cluster.apply(document, namespace=stage.namespace)
                await stage.until("g", lambda each: each.is_successful("g"), writes_per_process=allowed)
            assert _without_namespace(stages[0]) == _without_namespace(stages[1])
        stage = stages[1]
        api_cluster.kubectl("delete", "dgd", "g", "-n", stage.namespace, "--wait=false")
        await stage.until("g", lambda each: each.tree() == {}, writes_per_process=1)


def _without_namespace(stage: Stage) -> str:
    return repr(sorted(stage.tree().items())).replace(stage.namespace, "NAMESPACE")
