"""One of the two documents that a preview compares, with all that is rendered from it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dynamo_operator.api import Component, parse_component_deployment, parse_graph
from dynamo_operator.kube import Document, Live, Ref, ref_of
from dynamo_operator.kube.objects import COMPONENT_DEPLOYMENT, DEPLOYMENT, GRAPH, LEADER_WORKER_SET, POD_CLIQUE_SET
from dynamo_operator.plan.intents import Intent, completed, intents
from dynamo_operator.plan.survey import Survey, survey
from dynamo_operator.plan.workloads import is_workload
from dynamo_operator.render import RenderContext, names, render, render_component_deployment
from dynamo_operator.render.workloads import Backing, component_workloads, deployed_backing


@dataclass(frozen=True, slots=True)
class Side:
    """`backings`: the object that runs each component; `intents`: everything rendered."""

    root: Live
    context: RenderContext
    intents: tuple[Intent, ...]
    components: Mapping[str, Component]
    backings: Mapping[str, Backing]

    @classmethod
    def of(cls, document: Document, context: RenderContext) -> Side:
        """Raises SpecError or RenderError."""
        root = _live(document, context.namespace)
        if root.ref.kind == GRAPH:
            graph = parse_graph(document)
            components = {each.name: each for each in graph.components}
            backings = component_workloads(graph, context)
            documents = render(graph, context)
        else:
            deployment = parse_component_deployment(document)
            components = {deployment.component.name: deployment.component}
            backings = {deployment.component.name: deployed_backing(deployment)}
            documents = render_component_deployment(deployment, context)
        return cls(root, context, intents(documents, context.namespace), components, backings)

    @property
    def is_gang(self) -> bool:
        return any(intent.ref.kind == POD_CLIQUE_SET for intent in self.intents)

    @property
    def has_generations(self) -> bool:
        """Its workers roll in generations of component deployments."""
        return any(intent.ref.kind == COMPONENT_DEPLOYMENT for intent in self.intents)

    def workload(self, component: str) -> Mapping[str, Any] | None:
        """The rendered Deployment or LeaderWorkerSet of a component; None on Grove."""
        backing = self.backings.get(component)
        names_wanted = backing.names if backing else ()
        found = (each for each in self.intents if is_workload(each.ref.kind) and each.ref.name in names_wanted)
        return next((each.document for each in found), None)

    def pods(self, component: str) -> Any:
        """What makes a component's pods; two sides with the same answer have the same pods."""
        workload = self.workload(component)
        if workload is not None:
            return workload["spec"].get("template") or workload["spec"].get("leaderWorkerTemplate")
        sets = [each.document for each in self.intents if each.ref.kind == POD_CLIQUE_SET]
        cliques = [clique for each in sets for clique in each["spec"]["template"]["cliques"]]
        mine = [each for each in cliques if (each.get("labels") or {}).get(names.COMPONENT) == component]
        return [(each["spec"]["podSpec"], each["labels"], each.get("annotations")) for each in mine]

    def settled(self, ready: Mapping[str, int]) -> tuple[Live, ...]:
        """All that is rendered as a cluster shows it once everything runs, apart from replicas that are not ready."""
        counts = {backing.names[0]: ready.get(name, backing.replicas) for name, backing in self.backings.items()}
        return tuple(self._settled(intent, counts) for intent in self.intents)

    def surveyed(self, children: tuple[Live, ...]) -> Survey:
        """This side as the operator would see it among `children`."""
        return survey(self.root, children, self.context)

    def _settled(self, intent: Intent, ready: Mapping[str, int]) -> Live:
        document = completed(intent, None, uid_of(intent.owner) if intent.owner else None)
        if intent.ref.kind in (DEPLOYMENT, LEADER_WORKER_SET):
            document = {**document, "status": _status(document, ready.get(intent.ref.name))}
        return Live(intent.ref, uid_of(intent.ref), 1, "1", document)


def uid_of(ref: Ref) -> str:
    """A stand-in that is the same for the same name, as the uid of an object that lives on is."""
    return str(ref)


def _live(document: Document, namespace: str) -> Live:
    ref = ref_of({**document, "metadata": {**document["metadata"], "namespace": namespace}}, namespace)
    return Live(ref, uid_of(ref), 1, "1", document)


def _status(document: Document, ready: int | None) -> Document:
    replicas = document["spec"]["replicas"]
    serving = replicas if ready is None else min(ready, replicas)
    return {
        "observedGeneration": 1,
        "replicas": replicas,
        "updatedReplicas": replicas,
        "readyReplicas": serving,
        "availableReplicas": serving,
        "conditions": [{"type": "Available", "status": "True"}],
    }
