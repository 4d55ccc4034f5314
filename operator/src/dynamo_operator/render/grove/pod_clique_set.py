"""The PodCliqueSet of a graph: all its components in one gang. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dynamo_operator.api import Component, ComponentDeployment, Graph
from dynamo_operator.api.placement import GROVE_VERSION, POD_CLIQUE_SET, SCALING_GROUP
from dynamo_operator.render import names
from dynamo_operator.render.context import RenderContext
from dynamo_operator.render.grove.clique import render_cliques
from dynamo_operator.render.grove.names import (
    check_lengths,
    clique_names,
    has_scaling_group,
    pod_clique_set_name,
)
from dynamo_operator.render.grove.topology import component_topology, overridden, set_topology

Document = dict[str, Any]

UPDATE_STRATEGY = "nvidia.com/grove-update-strategy"
VOLCANO = "volcano"
GROVE_VOLCANO_QUEUE = "scheduling.grove.io/volcano-queue"


def render_pod_clique_set(graph: Graph, deployments: Sequence[ComponentDeployment], context: RenderContext) -> Document:
    """The set, with one replica; raises RenderError naming the component that Grove cannot run."""
    name = pod_clique_set_name(graph)
    check_lengths(name, graph.components)
    metadata: Document = {"name": name, "labels": {**graph.labels, names.GRAPH_NAME: graph.name}}
    annotations = {**graph.annotations, **_queue(graph, context)}
    if annotations:
        metadata["annotations"] = annotations
    spec: Document = {"replicas": 1, "template": _template(graph, deployments, context)}
    strategy = graph.metadata_annotations.get(UPDATE_STRATEGY)
    if strategy is not None:
        spec["updateStrategy"] = {"type": strategy}
    document = {"apiVersion": GROVE_VERSION, "kind": "PodCliqueSet", "metadata": metadata, "spec": spec}
    return overridden(document, graph.gang.override, POD_CLIQUE_SET, graph.name)


def _template(graph: Graph, deployments: Sequence[ComponentDeployment], context: RenderContext) -> Document:
    cliques = [clique for each in deployments for clique in render_cliques(graph, each, context)]
    is_ordered = any("startsAfter" in clique["spec"] for clique in cliques)
    template: Document = {
        "cliqueStartupType": "CliqueStartupTypeExplicit" if is_ordered else "CliqueStartupTypeAnyOrder",
        "cliques": cliques,
        # Engines of a group look for each other before any of them is ready.
        "headlessServiceConfig": {"publishNotReadyAddresses": True},
        **set_topology(graph.gang),
    }
    if graph.gang.priority_class_name is not None:
        template["priorityClassName"] = graph.gang.priority_class_name
    if context.grove_termination_delay_s > 0:
        template["terminationDelay"] = _duration(context.grove_termination_delay_s)
    groups = [_scaling_group(graph, each) for each in graph.components if has_scaling_group(each)]
    if groups:
        template["podCliqueScalingGroups"] = groups
    return template


def _scaling_group(graph: Graph, component: Component) -> Document:
    group = {
        "name": component.name.lower(),
        "cliqueNames": list(clique_names(component)),
        "replicas": component.replicas,
        "minAvailable": component.gang.min_available or 1,
        **component_topology(component.gang, graph.gang),
    }
    return overridden(group, component.gang.override, SCALING_GROUP, component.name)


def _queue(graph: Graph, context: RenderContext) -> dict[str, str]:
    """Volcano's queue, which Grove reads from the set."""
    queue = graph.metadata_annotations.get(names.VOLCANO_QUEUE, "").strip()
    return {GROVE_VOLCANO_QUEUE: queue} if queue and context.gang_scheduler == VOLCANO else {}


def _duration(seconds: int) -> str:
    """`4h0m0s`: as a Go program writes it, so that what is stored equals what is applied."""
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}h{minutes}m{rest}s"
    return f"{minutes}m{rest}s" if minutes else f"{rest}s"
