"""Graphs on Grove, on a real API server with Grove's own kinds. Its controllers are a stand-in: they were not run."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dynamo_operator.kube import Client, Ref
from dynamo_operator.kube.objects import POD_CLIQUE, POD_CLIQUE_SCALING_GROUP, POD_CLIQUE_SET
from dynamo_operator.plan.workloads import restart_ids
from dynamo_operator.render import RenderContext
from tests.cluster.api.graph_stage import Stage
from tests.cluster.api.grove_stage import ClientHands, install_rights
from tests.cluster.chart import built_chart
from tests.cluster.local.api_only import ApiCluster
from tests.cluster.operator_process import running_operator
from tests.cluster.settings import Settings
from tests.fakes.grove import Grove
from tests.unit.operator_plane.render.factories import a_component, a_graph_document

Document = dict[str, Any]
DEADLINE_S = 60.0


def a_gang_graph(replicas: int = 2, image: str = "one", *, wide: int = 1, **spec: Any) -> Document:
    main = {"image": f"engine-{image}:1.5.0"}
    return a_graph_document(
        a_component("Frontend", "frontend"),
        a_component("Worker", replicas=replicas, main=main),
        a_component("Wide", "decode", replicas=wide, multinode={"nodeCount": 2}, main=main),
        **spec,
    )


class GroveStage(Stage):
    """The stage with Grove's kinds: its stand-in acts when told to."""

    def __init__(self, kube: Client, namespace: str) -> None:
        super().__init__(kube, namespace, RenderContext(namespace="", has_grove=True))
        self.grove = Grove(ClientHands(kube, namespace))

    def ref(self, kind: Any, name: str) -> Ref:
        return Ref(kind, self.namespace, name)

    async def settle(self, holds: Callable[[], bool] | None = None) -> None:
        """Passes and Grove by turns until the graph is ready, and `holds`."""
        async with asyncio.timeout(DEADLINE_S):
            while True:
                await self.pass_("g")
                await self.grove.act()
                await self.store.refresh()
                if self.is_successful("g") and (holds is None or holds()):
                    return

    def replicas(self, kind: Any, name: str) -> Any:
        live = self.store.get(self.ref(kind, name))
        return live.document["spec"]["replicas"] if live else None

    @property
    def counts(self) -> tuple[Any, Any]:
        return self.replicas(POD_CLIQUE, "g-0-worker"), self.replicas(POD_CLIQUE_SCALING_GROUP, "g-0-wide")

    @property
    def status(self) -> Document:
        live = self.graph("g")
        assert live is not None, "the graph is there"
        found: Document = live.document.get("status") or {}
        return found


@pytest.fixture
def stage(grove_cluster: ApiCluster, kube: Client, api_namespace: str) -> GroveStage:
    return GroveStage(kube, api_namespace)


async def test_members_follow_the_graphs_replicas_and_their_set_is_not_written(
    grove_cluster: ApiCluster, stage: GroveStage
) -> None:
    grove_cluster.apply(a_gang_graph(), namespace=stage.namespace)
    await stage.settle()
    components = stage.status["components"]
    assert components["Worker"].items() >= {"replicas": 2, "readyReplicas": 2, "scheduledReplicas": 2}.items()
    assert components["Wide"].items() >= {"replicas": 1, "availableReplicas": 1, "updatedReplicas": 1}.items()
    gang = stage.store.get(stage.ref(POD_CLIQUE_SET, "g"))
    assert gang is not None

    for replicas, wide in ((5, 3), (0, 0), (2, 1)):
        stage.mortal.writes.clear()
        grove_cluster.apply(a_gang_graph(replicas, wide=wide), namespace=stage.namespace)
        await stage.settle(lambda wanted=(replicas, wide): stage.counts == wanted)  # type: ignore[misc]
        patched = sorted(write for write in stage.mortal.writes if "g-0-" in write)
        where = f"{stage.namespace}/g-0"
        assert patched == [f"patch PodClique {where}-worker", f"patch PodCliqueScalingGroup {where}-wide"]
    after = stage.store.get(stage.ref(POD_CLIQUE_SET, "g"))
    assert after is not None
    assert after.generation == gang.generation

    stage.mortal.writes.clear()
    stage.restart()
    for _ in range(2):
        await stage.pass_("g")
    assert stage.mortal.writes == []


async def test_late_and_remade_members_get_their_replicas(grove_cluster: ApiCluster, stage: GroveStage) -> None:
    grove_cluster.apply(a_gang_graph(), namespace=stage.namespace)
    await stage.pass_("g")
    grove_cluster.apply(a_gang_graph(4, wide=2), namespace=stage.namespace)
    await stage.pass_("g")  # nothing of Grove is there yet
    await stage.store.refresh()
    assert stage.status["state"] == "pending"
    await stage.settle(lambda: stage.counts == (4, 2))

    grove_cluster.kubectl("delete", "podclique/g-0-worker", "podcliquescalinggroup/g-0-wide", "-n", stage.namespace)
    await stage.grove.act()
    await stage.store.refresh()
    assert stage.counts == (2, 1)
    await stage.settle(lambda: stage.counts == (4, 2))


async def test_a_set_in_another_order_or_scale_is_the_same_template(
    grove_cluster: ApiCluster, stage: GroveStage
) -> None:
    grove_cluster.apply(a_gang_graph(), namespace=stage.namespace)
    await stage.settle()
    before = stage.store.get(stage.ref(POD_CLIQUE_SET, "g"))
    turned = a_gang_graph(3, wide=2)
    turned["spec"]["components"].reverse()
    grove_cluster.apply(turned, namespace=stage.namespace)
    await stage.settle(lambda: stage.counts == (3, 2))
    after = stage.store.get(stage.ref(POD_CLIQUE_SET, "g"))
    assert before is not None
    assert after is not None
    assert after.document["spec"] == before.document["spec"]


async def test_restart_waits_for_grove_though_no_generation_tells_of_it(
    grove_cluster: ApiCluster, stage: GroveStage
) -> None:
    grove_cluster.apply(a_gang_graph(), namespace=stage.namespace)
    await stage.settle()
    clique = stage.store.get(stage.ref(POD_CLIQUE, "g-0-worker"))
    assert clique is not None
    grove_cluster.apply(a_gang_graph(restart={"id": "7"}), namespace=stage.namespace)
    names = ["Frontend", "Wide", "Worker"]
    for begun, name in enumerate(names, 1):
        await stage.pass_("g")
        for act in (stage.grove.see, functools.partial(stage.grove.act, replaced=0)):
            await act()  # Grove looks at the set alone, and members still look ready; then it begins
            await stage.pass_("g")
            await stage.store.refresh()
            gang = stage.store.get(stage.ref(POD_CLIQUE_SET, "g"))
            assert gang is not None
            assert sorted(restart_ids(gang)) == names[:begun]
            assert (stage.status["restart"]["inProgress"], stage.status["state"]) == ([name], "pending")
        await stage.grove.act()
    await stage.settle(lambda: stage.status["restart"]["phase"] == "Completed")
    after = stage.store.get(clique.ref)
    assert after is not None
    assert after.generation == clique.generation


async def test_new_template_is_reported_step_by_step(grove_cluster: ApiCluster, stage: GroveStage) -> None:
    grove_cluster.apply(a_gang_graph(), namespace=stage.namespace)
    await stage.settle()
    before = stage.status["components"]["Worker"]["runtimeNamespace"]
    grove_cluster.apply(a_gang_graph(image="two"), namespace=stage.namespace)
    seen = []
    for replaced in (None, 0, 1):
        if replaced is not None:
            await stage.grove.act(replaced=replaced)
        for _ in range(2):
            await stage.pass_("g")
        await stage.store.refresh()
        worker = stage.status["components"]["Worker"]
        seen.append((stage.status["state"], worker["updatedReplicas"], worker["runtimeNamespace"] == before))
    assert seen == [("pending", 0, True), ("pending", 0, True), ("pending", 1, True)]
    await stage.settle()
    worker = stage.status["components"]["Worker"]
    assert (worker["updatedReplicas"], worker["runtimeNamespace"] == before) == (2, False)


async def test_an_adapter_scales_through_the_process_with_the_charts_rights(
    grove_cluster: ApiCluster, cluster_settings: Settings, stage: GroveStage, tmp_path: Path
) -> None:
    chart = built_chart(cluster_settings.cache)
    installed = install_rights(grove_cluster, chart, stage.namespace, tmp_path)
    mark = grove_cluster.audit.mark()
    graph = a_gang_graph()
    for component in graph["spec"]["components"][1:]:
        component["scalingAdapter"] = {}
    with running_operator(
        installed.kubeconfig, tmp_path, namespace=stage.namespace, settings=installed.settings
    ) as operator:

        async def until(holds: Callable[[], bool]) -> None:
            async with asyncio.timeout(DEADLINE_S):
                while True:
                    await stage.grove.act()
                    await stage.store.refresh()
                    if stage.is_successful("g") and holds():
                        return
                    assert operator.is_running, operator.said()[-2000:]
                    await asyncio.sleep(0.2)  # the operator's turn; the deadline is above

        grove_cluster.apply(graph, namespace=stage.namespace)
        await until(lambda: stage.counts == (2, 1))
        grove_cluster.kubectl("scale", "dgdsa/g-worker", "dgdsa/g-wide", "-n", stage.namespace, "--replicas=3")
        await until(lambda: stage.counts == (3, 3))
    calls = [call for call in grove_cluster.audit.calls(mark) if call.user == installed.user]
    assert [call for call in calls if call.is_denied] == []
    scales = [(call.resource, call.verb) for call in calls if call.resource.endswith("/scale")]
    assert set(scales) == {("podcliques/scale", "patch"), ("podcliquescalinggroups/scale", "patch")}
    assert not [call for call in calls if call.is_write and call.resource in ("podcliques", "podcliquescalinggroups")]
