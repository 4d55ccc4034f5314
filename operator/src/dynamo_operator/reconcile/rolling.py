"""What a rollout must know of the world: frontends' admissions, and pods that are still ending.

Duty: ask, and remember since when frontends gave no answer. It must not decide replicas.
Caller: the graph's reconciler.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from dynamo_operator.api import ComponentType
from dynamo_operator.kube import Ref
from dynamo_operator.kube.objects import LEADER_WORKER_SET, POD
from dynamo_operator.plan.conditions import Change
from dynamo_operator.plan.graph import Facts, rolls_of
from dynamo_operator.plan.survey import Part, Survey
from dynamo_operator.plan.workloads import read_workload
from dynamo_operator.reconcile.admission import Admission
from dynamo_operator.reconcile.ports import Kube
from dynamo_operator.render import names

UNANSWERED_S = 60.0
LOOK_AGAIN_S = 2.0


@dataclass(frozen=True, slots=True)
class Look:
    """The facts, the seconds after which to look again, and what the graph's owner should hear."""

    facts: Facts
    again_after_s: float | None = None
    changes: tuple[Change, ...] = ()


class RolloutLookout:
    """Forgets a graph once its rollout ends; a restart of the operator only begins the wait for an answer anew."""

    def __init__(self, kube: Kube, admission: Admission, monotonic: Callable[[], float]) -> None:
        self._kube = kube
        self._admission = admission
        self._monotonic = monotonic
        self._unanswered_since: dict[Ref, float] = {}
        self._warned: set[Ref] = set()

    async def look(self, seen: Survey) -> Look:
        """Asks nobody unless a rollout needs it."""
        if not seen.is_rolling:
            self.forget(seen.root.ref)
            return Look(Facts())
        with_pods = await self._with_pods(seen)
        admitted, changes = await self._admitted(seen)
        return Look(Facts(admitted, with_pods), LOOK_AGAIN_S, changes)

    def forget(self, graph: Ref) -> None:
        self._unanswered_since.pop(graph, None)
        self._warned.discard(graph)

    async def _admitted(self, seen: Survey) -> tuple[frozenset[str] | None, tuple[Change, ...]]:
        if not any(each.type is ComponentType.FRONTEND and each.replicas for each in seen.graph.components):
            return None, ()
        if not any(part.workload and read_workload(part.workload).serving for part in seen.current.values()):
            return frozenset(), ()
        graph = seen.root.ref
        admitted = await self._admission.admitted(graph)
        if admitted is not None:
            self.forget(graph)
            return admitted, ()
        since = self._unanswered_since.setdefault(graph, self._monotonic())
        if self._monotonic() - since < UNANSWERED_S:
            return frozenset(), ()
        return None, self._warning(graph)

    def _warning(self, graph: Ref) -> tuple[Change, ...]:
        if graph in self._warned:
            return ()
        self._warned.add(graph)
        message = (
            f"The frontends did not say for {UNANSWERED_S:.0f} s which workers they route to; "
            "the rolling update goes on by the workers' readiness alone"
        )
        return (Change("AdmissionUnknown", message, is_warning=True),)

    async def _with_pods(self, seen: Survey) -> frozenset[str]:
        """Old component deployments that are scaled to 0 under the Recreate strategy and whose pods are still there."""
        recreated = {old.name for roll in rolls_of(seen, Facts()) if roll.limits.is_recreate for old in roll.old}
        ending = [part for part in seen.old if part.deployment.ref.name in recreated and part.workload]
        return frozenset([part.deployment.ref.name for part in ending if await self._has_pods(part)])

    async def _has_pods(self, part: Part) -> bool:
        workload = part.workload
        assert workload is not None, "only parts with a workload are asked about"
        if workload.ref.kind == LEADER_WORKER_SET:
            labels = {"leaderworkerset.sigs.k8s.io/name": workload.ref.name}
        else:
            labels = {names.SELECTOR: part.deployment.ref.name}
        return bool(await self._kube.find(POD, part.deployment.ref.namespace, labels=labels))
