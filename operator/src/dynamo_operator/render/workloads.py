"""Which live object runs each component, on every pathway. Pure.

Called by whoever reads readiness and reports status; the laptop runner does not, so the package's root leaves it out
and stays free of the Kubernetes client.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dynamo_operator.api import ComponentDeployment, Graph
from dynamo_operator.kube.objects import (
    DEPLOYMENT,
    LEADER_WORKER_SET,
    POD_CLIQUE,
    POD_CLIQUE_SCALING_GROUP,
    Kind,
)
from dynamo_operator.render.component_deployment import component_deployments
from dynamo_operator.render.context import RenderContext
from dynamo_operator.render.grove import child_name, has_scaling_group
from dynamo_operator.render.leader_worker_set import leader_worker_set_name
from dynamo_operator.render.pathway import uses_grove


@dataclass(frozen=True, slots=True)
class Backing:
    """The object that runs one component's present generation.

    kind: Deployment, LeaderWorkerSet, PodClique or PodCliqueScalingGroup; its `name` is status.componentKind.
    names: status.componentNames; a rollout's older generations are not among them.
    replicas: how many the object should have ready; pods, or groups of pods of a multinode component.
    """

    kind: Kind
    names: tuple[str, ...]
    replicas: int


def component_workloads(graph: Graph, context: RenderContext) -> Mapping[str, Backing]:
    """By component name, in the graph's order; raises RenderError where the graph cannot be rendered."""
    if uses_grove(graph, context):
        return {
            each.name: Backing(
                POD_CLIQUE_SCALING_GROUP if has_scaling_group(each) else POD_CLIQUE,
                (child_name(graph, each),),
                each.replicas,
            )
            for each in graph.components
        }
    return {each.component.name: deployed_backing(each) for each in component_deployments(graph, context)}


def deployed_backing(deployment: ComponentDeployment) -> Backing:
    """The object that runs a component deployment: one of its own name, or a group of nodes."""
    component = deployment.component
    if component.node_count > 1:
        return Backing(LEADER_WORKER_SET, (leader_worker_set_name(deployment),), component.replicas)
    return Backing(DEPLOYMENT, (deployment.name,), component.replicas)
