"""An operator over a world: runs passes until nothing changes any more, on a clock that tests move."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from dynamo_operator.kube import Live, Ref
from dynamo_operator.kube.objects import COMPONENT_DEPLOYMENT, DEPLOYMENT, GRAPH
from dynamo_operator.reconcile import (
    ComponentDeploymentController,
    GraphController,
    Outcome,
    ScalingAdapterController,
    Surroundings,
)
from dynamo_operator.render import RenderContext
from tests.unit.operator_plane.reconcile.world import Admitting, View, World

START = datetime(2026, 1, 1, tzinfo=UTC)
NAMESPACE = "ns"


class Operator:
    """Controllers with empty memories; a restart is another `Operator` on the same world.

    Others wait as long as `is_pressed` is set, and pods may take `slack_s` longer than usual.
    """

    def __init__(
        self,
        world: World,
        admission: Admitting | None = None,
        *,
        now_s: float = 0.0,
        context: RenderContext | None = None,
    ) -> None:
        self.world = world
        self.now_s = now_s
        self.admission = admission or Admitting(world)
        self.view = View(world)
        self.is_pressed = False
        self.slack_s = 0.0
        self.around = around = Surroundings(
            world,
            self.view,
            context or RenderContext(namespace=""),
            wall=lambda: START + timedelta(seconds=self.now_s),
            monotonic=lambda: self.now_s,
            is_pressed=lambda _: self.is_pressed,
            slack_s=lambda: self.slack_s,
        )
        self.graphs = GraphController(around, self.admission)
        self.components = ComponentDeploymentController(around)
        self.adapters = ScalingAdapterController(around)

    async def reconcile(self, name: str = "g", namespace: str = NAMESPACE) -> float | None:
        """One pass of a graph; the seconds after which it wants the next."""
        return (await self.outcome(name, namespace)).again_after_s

    async def outcome(self, name: str = "g", namespace: str = NAMESPACE) -> Outcome:
        """One pass of a graph, and all that it came to."""
        return await self.graphs.reconcile(Ref(GRAPH, namespace, name))

    async def settle(self, *names: str, rounds: int = 60) -> None:
        """Passes, pods and garbage collection by turns, until nothing changes and no pass waits to write counts."""
        quiet = 0
        for _ in range(rounds):
            before = self.world.tree()
            for name in names or ("g",):
                await self.reconcile(name)
            self.world.collect()
            self.world.run_pods()
            self.world.make_ready()
            self.now_s += 11
            quiet = quiet + 1 if self.world.tree() == before else 0
            if quiet == 2:
                return
        raise AssertionError(f"still changing after {rounds} rounds")


def graph_ref(name: str = "g") -> Ref:
    return Ref(GRAPH, NAMESPACE, name)


def status_of(world: World, name: str = "g") -> dict[str, Any]:
    """A graph's status; empty before the first."""
    status: dict[str, Any] = world.objects[graph_ref(name)].document.get("status") or {}
    return status


def ready_condition(world: World, name: str = "g") -> dict[str, Any]:
    return next(each for each in status_of(world, name)["conditions"] if each["type"] == "Ready")


def deployments(world: World) -> dict[str, Live]:
    return {live.ref.name: live for live in world.seen(DEPLOYMENT)}


def replicas(world: World) -> dict[str, int]:
    return {name: live.document["spec"]["replicas"] for name, live in deployments(world).items()}


def component_deployments(world: World) -> list[str]:
    return [live.ref.name for live in world.seen(COMPONENT_DEPLOYMENT)]
