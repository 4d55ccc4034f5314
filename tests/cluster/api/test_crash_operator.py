"""The operator's process, killed over and over at its writes: the same objects as if it had lived.

Every write of every change is tried on the fake (tests/unit/operator_plane/reconcile/test_crash_points.py);
here some of them, with SIGKILL, on a real API server whose garbage collector and Deployment controller go on meanwhile.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dynamo_operator.handlers.facts import render_context
from dynamo_operator.handlers.settings import Namespace, Settings
from dynamo_operator.kube import Client
from tests.cluster.api.graph_stage import Stage
from tests.cluster.local.api_only import ApiCluster
from tests.cluster.operator_process import OperatorProcess, start_operator
from tests.unit.operator_plane.render.factories import a_component, a_graph_document

DEADLINE_S = 150.0  # Seven processes start one after the other; slow where others work beside them.
LOOK_S = 0.2
# What an operator renders that serves one namespace only.
RESTRICTED = render_context(Settings(namespace=Namespace(restricted="any")), frozenset())
NAMES = ("agg", "disagg")
pytestmark = pytest.mark.timeout(240, func_only=True)
# The write at which each process ends, and whether the API server still does it; the last process lives on.
ENDS = ((1, "after"), (2, "before"), (3, "after"), (1, "before"), (4, "after"), (2, "after"))
Document = dict[str, Any]


def graphs(*, frontend: str = "one", engine: str = "one", replicas: int = 2) -> list[Document]:
    """Frontend and workers; disaggregated with a planner. No adapter: replicas would be its own."""
    main = {"image": f"engine-{engine}:1.5.0"}
    front = a_component("Frontend", "frontend", main={"image": f"frontend-{frontend}:1.5.0"})
    shapes = (
        [front, a_component("Worker", "worker", replicas=replicas, main=main)],
        [
            front,
            a_component("Planner", "planner"),
            a_component("Decode", "decode", replicas=replicas, main=main),
            a_component("Prefill", "prefill", main=main),
        ],
    )
    return [a_graph_document(*shape, name=name) for name, shape in zip(NAMES, shapes, strict=True)]


class Life:
    """What serves one namespace: a process that ends at its n-th write, and then the next."""

    def __init__(self, cluster: ApiCluster, stage: Stage, folder: Path) -> None:
        self.deaths = 0
        self._cluster = cluster
        self._stage = stage
        self._folder = folder
        self._operator = self._begin()

    def end(self) -> None:
        self._operator.kill()

    async def until(self, holds: Callable[[], bool]) -> None:
        began_s = time.monotonic()
        while True:
            await self._stage.make_ready()
            await self._stage.store.refresh()
            if not self._operator.is_running:
                self.deaths += 1
                self._operator = self._begin()
            elif holds():
                return
            assert time.monotonic() - began_s < DEADLINE_S, self._operator.said()[-3000:]
            await asyncio.sleep(LOOK_S)

    def _begin(self) -> OperatorProcess:
        point, moment = ENDS[self.deaths] if self.deaths < len(ENDS) else (0, "after")
        namespace = self._stage.namespace
        return start_operator(
            self._cluster.kubeconfig,
            self._folder,
            namespace=namespace,
            settings={"namespace": {"restricted": namespace}},
            words=("-m", "tests.cluster.api.mortal", str(point), moment),
        )


async def undisturbed(cluster: ApiCluster, stage: Stage, *changes: list[Document]) -> str:
    """What these changes come to when nothing ends in between."""
    for change in changes:
        cluster.apply(*change, namespace=stage.namespace)
        for name in NAMES:
            await stage.until(name, lambda stage, name=name: stage.is_successful(name))  # type: ignore[misc]
    return _text(stage)


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param([graphs()], id="create"),
        pytest.param([graphs(), graphs(frontend="two")], id="update"),
        pytest.param([graphs(), graphs(replicas=3)], id="scale"),
        pytest.param([graphs(), graphs(engine="two")], id="roll"),
    ],
)
async def test_killed_processes_reach_the_same_objects(
    api_cluster: ApiCluster, kube: Client, tmp_path: Path, changes: list[list[Document]]
) -> None:
    with api_cluster.namespace() as quiet, api_cluster.namespace() as deadly:
        expected = await undisturbed(api_cluster, Stage(kube, quiet, RESTRICTED), *changes)
        stage = Stage(kube, deadly, RESTRICTED)
        await undisturbed(api_cluster, stage, *changes[:-1])
        api_cluster.apply(*changes[-1], namespace=deadly)
        life = Life(api_cluster, stage, tmp_path)
        try:
            await life.until(lambda: _text(stage) == expected and all(map(stage.is_successful, NAMES)))
        finally:
            life.end()
        assert life.deaths >= 4


async def test_killed_processes_leave_nothing_of_deleted_graphs(
    api_cluster: ApiCluster, kube: Client, tmp_path: Path, api_namespace: str
) -> None:
    stage = Stage(kube, api_namespace, RESTRICTED)
    await undisturbed(api_cluster, stage, graphs())
    api_cluster.kubectl("delete", "dgd", "--all", "--wait=false", "-n", api_namespace)
    life = Life(api_cluster, stage, tmp_path)
    try:
        await life.until(lambda: stage.tree() == {})
    finally:
        life.end()
    assert life.deaths >= 1


def _text(stage: Stage) -> str:
    return repr(sorted(stage.tree().items())).replace(stage.namespace, "NAMESPACE")
