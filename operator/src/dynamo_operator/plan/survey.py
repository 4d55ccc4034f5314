"""One look at a graph: what its spec wants and what of it is there. Pure; called by the graph's pass and by previews.

Generations of workers are recognised by their live component deployments alone: one that the graph's present spec does
not render is an old generation, which lives on, rendered from its own spec, until the rollout has drained it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from dynamo_operator.api import WORKER_TYPES, Graph, parse_graph
from dynamo_operator.kube import Live, Ref
from dynamo_operator.kube.objects import COMPONENT_DEPLOYMENT, POD_CLIQUE_SET
from dynamo_operator.plan.adapters import as_scaled
from dynamo_operator.plan.intents import Intent, intents
from dynamo_operator.plan.workloads import is_workload
from dynamo_operator.render import RenderContext, names, render
from dynamo_operator.render.workloads import Backing, component_workloads


@dataclass(frozen=True, slots=True)
class Part:
    """A live component deployment with the workload that it controls."""

    component: str
    hash8: str
    deployment: Live
    workload: Live | None


@dataclass(frozen=True, slots=True)
class Survey:
    """One look at a graph.

    graph: with the replicas of its scaling adapters.
    children: all that the graph or one of its component deployments controls.
    backings: the object that runs each component of the present spec.
    current: parts of the present spec, by component; those not made yet are absent. old: earlier generations of
    workers, oldest first. removed: component deployments of other components that the graph no longer has.
    """

    root: Live
    graph: Graph
    context: RenderContext
    intents: tuple[Intent, ...]
    backings: Mapping[str, Backing]
    children: Mapping[Ref, Live]
    current: Mapping[str, Part]
    old: tuple[Part, ...]
    removed: tuple[Live, ...]

    @property
    def is_rolling(self) -> bool:
        return any(part.workload is not None for part in self.old)

    @property
    def gang(self) -> Live | None:
        """The set of cliques that runs the graph on Grove; None until it is there, and on the other pathway."""
        refs = (intent.ref for intent in self.intents if intent.ref.kind == POD_CLIQUE_SET)
        return next((self.children[ref] for ref in refs if ref in self.children), None)


def survey(root: Live, children: Iterable[Live], context: RenderContext) -> Survey:
    """Raises SpecError or RenderError where the graph cannot be understood or rendered."""
    by_ref = {child.ref: child for child in children}
    graph = parse_graph(as_scaled(root, by_ref))
    wanted = intents(render(graph, context), root.ref.namespace)
    names_wanted = {intent.ref for intent in wanted if intent.ref.kind == COMPONENT_DEPLOYMENT}
    parts = [_part(live, by_ref.values()) for live in by_ref.values() if _is_part(live, root)]
    others = [part for part in parts if part.deployment.ref not in names_wanted]
    return Survey(
        root=root,
        graph=graph,
        context=context,
        intents=wanted,
        backings=component_workloads(graph, context),
        children=by_ref,
        current={part.component: part for part in parts if part.deployment.ref in names_wanted},
        old=tuple(sorted((part for part in others if _is_worker(part.deployment)), key=_age)),
        removed=tuple(part.deployment for part in others if not _is_worker(part.deployment)),
    )


def live_backing(seen: Survey, component: str) -> Live | None:
    """The live object that runs a component of the present spec."""
    backing = seen.backings[component]
    return seen.children.get(Ref(backing.kind, seen.root.ref.namespace, backing.names[0]))


def _part(live: Live, among: Iterable[Live]) -> Part:
    mine = (each for each in among if is_workload(each.ref.kind) and each.controller_uid == live.uid)
    component = live.labels.get(names.COMPONENT) or live.document["spec"].get("name") or live.ref.name
    return Part(component, live.labels.get(names.WORKER_HASH, ""), live, next(mine, None))


def _is_part(live: Live, root: Live) -> bool:
    return live.ref.kind == COMPONENT_DEPLOYMENT and live.controller_uid == root.uid


def _is_worker(live: Live) -> bool:
    return names.WORKER_HASH in live.labels or live.document["spec"].get("type") in WORKER_TYPES


def _age(part: Part) -> tuple[str, str]:
    return part.deployment.document["metadata"].get("creationTimestamp") or "", part.deployment.ref.name
