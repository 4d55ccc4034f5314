"""Why components that lack pods do lack them, as their pods tell: images, nodes, volumes, secrets, crashes.

Duty: look at the pods of a graph, or of a lone component deployment, that has been unready for a while, and not more
often than somebody reading its status needs. Pods are not watched: there are more of them than of everything else. It
must not judge readiness. Callers: the reconcilers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from dynamo_operator.kube import Forbidden, Kind, Live, Ref
from dynamo_operator.kube.objects import LEADER_WORKER_SET, POD
from dynamo_operator.plan.conditions import condition_of
from dynamo_operator.plan.troubles import pods_trouble
from dynamo_operator.reconcile.ports import Clocks, Kube
from dynamo_operator.render import names

FIRST_LOOK_S = 5.0  # pods that start well are ready, or on their way, without anybody asking
AGAIN_S, AGAIN_CAP_S = 10.0, 60.0  # twice as long each time that nothing new is found
SET_NAME = "leaderworkerset.sigs.k8s.io/name"


@dataclass(frozen=True, slots=True)
class Wanted:
    """One component that lacks pods: how to tell those of its present workload."""

    component: str
    labels: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """Troubles by component, and the seconds after which to look again."""

    troubles: Mapping[str, str] = field(default_factory=dict)
    again_after_s: float | None = None


@dataclass(frozen=True, slots=True)
class _Seen:
    troubles: Mapping[str, str]
    at_s: float
    kept_s: float


class Diagnostician:
    """Remembers the last look at each root; since when a root is unready is read from its own status."""

    def __init__(self, kube: Kube, clocks: Clocks) -> None:
        self._kube = kube
        self._clocks = clocks
        self._seen: dict[Ref, _Seen] = {}

    async def look(self, root: Live, condition: str, wanted: Iterable[Wanted], labels: Mapping[str, str]) -> Diagnosis:
        """`condition` says since when the root is unready; `labels` select the pods of all its components."""
        wanted = tuple(wanted)
        if not wanted:
            self.forget(root.ref)
            return Diagnosis()
        seen, slack_s, now_s = self._seen.get(root.ref), self._clocks.slack_s(), self._clocks.monotonic()
        patience_s = FIRST_LOOK_S if seen else FIRST_LOOK_S + slack_s
        early_s = patience_s - self._unready_s(root, condition)
        if early_s > 0:
            return Diagnosis(again_after_s=early_s)
        if seen is None or now_s >= seen.at_s + seen.kept_s + slack_s:
            troubles = await self._troubles(root, wanted, labels)
            is_news = seen is None or seen.troubles != troubles
            kept_s = AGAIN_S if seen is None or is_news else min(AGAIN_CAP_S, 2 * seen.kept_s)
            seen = self._seen[root.ref] = _Seen(troubles, now_s, kept_s)
        return Diagnosis(seen.troubles, seen.at_s + seen.kept_s + slack_s - now_s)

    def forget(self, root: Ref) -> None:
        self._seen.pop(root, None)

    async def _troubles(self, root: Live, wanted: Iterable[Wanted], labels: Mapping[str, str]) -> Mapping[str, str]:
        try:
            pods = await self._kube.find(POD, root.ref.namespace, labels=labels)
        except Forbidden:
            return {}  # an installation may keep pods from us; the counts are told all the same
        found = {
            each.component: pods_trouble(pod for pod in pods if each.labels.items() <= pod.labels.items())
            for each in wanted
        }
        return {component: trouble for component, trouble in found.items() if trouble}

    def _unready_s(self, root: Live, condition: str) -> float:
        """0 before the first status."""
        found = condition_of(root.document.get("status") or {}, condition)
        if found.get("status") != "False":
            return 0.0
        return (self._clocks.wall() - datetime.fromisoformat(found["lastTransitionTime"])).total_seconds()


def pod_labels(kind: Kind, workload: str, deployment: str, component: str) -> Mapping[str, str]:
    """What the pods of a component's workload carry, and those of its older generations do not."""
    if kind == LEADER_WORKER_SET:
        return {SET_NAME: workload}
    return {names.SELECTOR: deployment} if deployment else {names.COMPONENT: component}
