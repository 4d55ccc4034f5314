"""The PodCliques of one component: pods of one role, with how many of them there are and must be. Pure."""

from __future__ import annotations

from typing import Any

from dynamo_operator.api import ComponentDeployment, Graph
from dynamo_operator.render import names
from dynamo_operator.render.context import RenderContext
from dynamo_operator.render.environment import discovery_backend
from dynamo_operator.render.errors import RenderError
from dynamo_operator.render.grove.metadata import written_annotations
from dynamo_operator.render.grove.names import has_scaling_group
from dynamo_operator.render.grove.topology import component_topology, overridden
from dynamo_operator.render.pod import pod_template

Document = dict[str, Any]

KAI = "kai-scheduler"
KAI_QUEUE_LABEL = "kai.scheduler/queue"
KAI_QUEUE = "nvidia.com/kai-scheduler-queue"
DEFAULT_KAI_QUEUE = "dynamo"


def render_cliques(graph: Graph, deployment: ComponentDeployment, context: RenderContext) -> list[Document]:
    """The component's cliques in Grove's start order; raises RenderError for what Grove cannot run."""
    component = deployment.component
    if component.node_count > 1:
        raise RenderError(component.name, f"multinode with {component.node_count} nodes", "allowed on Grove: 1")
    is_grouped = has_scaling_group(component)
    replicas = 1 if is_grouped else component.replicas
    least = 1 if is_grouped else component.gang.min_available or 1
    clique = _clique(component.name.lower(), pod_template(deployment, context), replicas, least)
    clique["annotations"] = _annotations(deployment, context)
    if not is_grouped:
        clique |= component_topology(component.gang, graph.gang)
        path = ("topologyConstraint",)
        clique = overridden(clique, component.gang.override, "PodCliqueTemplateSpec", path, component.name)
    return [_scheduled(clique, graph, context)]


def _clique(name: str, pods: Document, replicas: int, least: int) -> Document:
    spec = {"roleName": name, "replicas": replicas, "minAvailable": least, "podSpec": pods["spec"]}
    return {"name": name, "labels": pods["metadata"]["labels"], "spec": spec}


def _annotations(deployment: ComponentDeployment, context: RenderContext) -> dict[str, str]:
    """Annotations of the pods, which here carry what a component deployment carries on the other pathway."""
    return {**written_annotations(deployment), names.DISCOVERY_BACKEND: discovery_backend(deployment, context)}


def _scheduled(clique: Document, graph: Graph, context: RenderContext) -> Document:
    """The clique handed to the gang scheduler, unless its pods name another one."""
    pod = clique["spec"]["podSpec"]
    if context.gang_scheduler is None or pod.get("schedulerName") not in (None, "", context.gang_scheduler):
        return clique
    pod["schedulerName"] = context.gang_scheduler
    if context.gang_scheduler == KAI:
        queue = graph.metadata_annotations.get(KAI_QUEUE, "").strip() or DEFAULT_KAI_QUEUE
        clique["labels"] = {**clique["labels"], KAI_QUEUE_LABEL: queue}
    return clique
