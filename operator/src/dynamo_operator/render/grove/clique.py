"""The PodCliques of one component: pods of one role, with how many of them there are and must be. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from dynamo_operator.api import ComponentDeployment, Graph
from dynamo_operator.api.placement import POD_CLIQUE
from dynamo_operator.render import names
from dynamo_operator.render.context import RenderContext
from dynamo_operator.render.environment import discovery_backend
from dynamo_operator.render.grove.hosts import hosts_of
from dynamo_operator.render.grove.metadata import with_services_words
from dynamo_operator.render.grove.names import clique_names, has_scaling_group
from dynamo_operator.render.grove.topology import component_topology, overridden
from dynamo_operator.render.multinode import Node, Role, needs_key_pair
from dynamo_operator.render.pod import pod_template

Document = dict[str, Any]

KAI = "kai-scheduler"
KAI_QUEUE_LABEL = "kai.scheduler/queue"
KAI_QUEUE = "nvidia.com/kai-scheduler-queue"
DEFAULT_KAI_QUEUE = "dynamo"


def render_cliques(graph: Graph, deployment: ComponentDeployment, context: RenderContext) -> list[Document]:
    """The component's clique, or its leader's and its workers'; raises RenderError for what Grove cannot run."""
    component = deployment.component
    if component.node_count > 1:
        cliques = list(_group(graph, deployment, context))
    elif has_scaling_group(component):
        cliques = [_clique(component.name.lower(), graph, deployment, context, replicas=1, least=1)]
    else:
        least = component.gang.min_available or 1
        name, replicas = component.name.lower(), component.replicas
        clique = _clique(name, graph, deployment, context, replicas=replicas, least=least)
        clique |= component_topology(component.gang, graph.gang)
        override = component.gang.override
        cliques = [overridden(clique, override, POD_CLIQUE, component.name)]
    return [_scheduled(clique, graph, context) for clique in cliques]


def _group(graph: Graph, deployment: ComponentDeployment, context: RenderContext) -> Iterator[Document]:
    """One replica of a multinode component: collective operations need every node, so none may be missing."""
    component = deployment.component
    leader_name, worker_name = clique_names(component)
    hosts = hosts_of(component)
    for role, name, nodes in (
        (Role.LEADER, leader_name, 1),
        (Role.WORKER, worker_name, component.node_count - 1),
    ):
        node = Node(role, component.node_count, hosts)
        clique = _clique(name, graph, deployment, context, replicas=nodes, least=nodes, node=node)
        if node.is_leader and needs_key_pair(deployment):
            # The launcher on the leader logs in to the workers at once.
            clique["spec"]["startsAfter"] = [worker_name]
        override = component.gang.role_overrides.get(role)
        yield overridden(clique, override, POD_CLIQUE, component.name)


def _clique(
    name: str,
    graph: Graph,
    deployment: ComponentDeployment,
    context: RenderContext,
    *,
    replicas: int,
    least: int,
    node: Node | None = None,
) -> Document:
    pods = pod_template(deployment, context, node)
    component = deployment.component
    # The pods' annotations also carry what a component deployment carries on the other pathway.
    template = (component.pod_template.get("metadata") or {}).get("annotations") or {}
    annotations = with_services_words({**component.preserved.annotations, **template}, graph, deployment, "annotations")
    annotations[names.DISCOVERY_BACKEND] = discovery_backend(deployment, context)
    return {
        "name": name,
        "labels": with_services_words(pods["metadata"]["labels"], graph, deployment, "labels"),
        "annotations": annotations,
        "spec": {"roleName": name, "replicas": replicas, "minAvailable": least, "podSpec": pods["spec"]},
    }


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
