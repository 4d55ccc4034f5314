"""The way from a graph to its objects: component deployments first, then what each of them needs. Pure.

A component deployment carries everything of its graph that reaches its pods, so rendering one read back from the
cluster gives the same children as rendering the graph.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from dynamo_operator.api import Claim, Component, ComponentDeployment, ComponentType, Graph, thaw
from dynamo_operator.render import names
from dynamo_operator.render.access import render_discovery_access, render_shared_access
from dynamo_operator.render.component_deployment import component_deployment_document, component_deployments
from dynamo_operator.render.context import RenderContext
from dynamo_operator.render.deployment import render_deployment
from dynamo_operator.render.epp import render_epp
from dynamo_operator.render.gpu_memory import render_claim_templates
from dynamo_operator.render.grove import render_grove_service, render_pod_clique_set
from dynamo_operator.render.leader_worker_set import render_group_service, render_leader_worker_set
from dynamo_operator.render.multinode import render_wait_script
from dynamo_operator.render.network import render_ingress, render_model_service, render_service
from dynamo_operator.render.pathway import uses_grove

Document = dict[str, Any]


def render(graph: Graph, context: RenderContext) -> tuple[Document, ...]:
    """All objects of a graph, in an order in which they can be applied; raises RenderError naming the component."""
    deployments = component_deployments(graph, context)
    owned = [
        *render_discovery_access(graph.name, context),
        *(_claim(claim) for claim in graph.claims),
        *render_claim_templates(graph.name, graph.components),
        *render_epp(graph, context),
        *(_scaling_adapter(graph, each) for each in deployments if each.component.has_scaling_adapter),
        *_wait_script(graph.name, graph.components),
    ]
    children: list[Document] = []
    if uses_grove(graph, context):
        owned += _gang(graph, deployments, context)
    else:
        owned += [component_deployment_document(each) for each in deployments]
        children = [child for each in deployments for child in _children(each, context)]
    documents = (
        # The planner's account is always there: planners also run outside of the graphs that they scale.
        *render_shared_access({ComponentType.PLANNER, *(each.type for each in graph.components)}, context),
        *_owned(_unique(owned), "DynamoGraphDeployment", graph.name),
        *_unique(children),
    )
    return _plain(documents)


def render_component_deployment(deployment: ComponentDeployment, context: RenderContext) -> tuple[Document, ...]:
    """All objects of one component deployment; one without a graph also gets what its pods refer to."""
    kind = "DynamoComponentDeployment"
    children = _children(deployment, context)
    if deployment.graph_name is not None:
        return _plain(children)
    alone = [
        *render_discovery_access(deployment.parent_name, context),
        *render_claim_templates(deployment.parent_name, [deployment.component]),
        *_wait_script(deployment.parent_name, [deployment.component]),
    ]
    shared = render_shared_access({deployment.component.type}, context)
    return _plain((*shared, *_owned(alone, kind, deployment.name), *children))


def _children(deployment: ComponentDeployment, context: RenderContext) -> Iterable[Document]:
    children = [
        *_workload(deployment, context),
        *render_model_service(deployment),
        *render_ingress(deployment, context),
    ]
    return _owned(children, "DynamoComponentDeployment", deployment.name)


def _workload(deployment: ComponentDeployment, context: RenderContext) -> list[Document]:
    """What runs the component's pods, one node or a group of nodes per replica, and the Service in front of them."""
    if deployment.component.node_count > 1:
        return [render_leader_worker_set(deployment, context), *render_group_service(deployment, context)]
    return [render_deployment(deployment, context), *render_service(deployment, context)]


def _gang(graph: Graph, deployments: Sequence[ComponentDeployment], context: RenderContext) -> list[Document]:
    """The graph as one gang, and what its components offer to others."""
    offered = [
        document
        for each in deployments
        for document in (
            *render_grove_service(graph, each, context),
            *render_model_service(each),
            *(render_ingress(each, context) if each.component.type is ComponentType.FRONTEND else ()),
        )
    ]
    return [render_pod_clique_set(graph, deployments, context), *offered]


def _plain(documents: Iterable[Document]) -> tuple[Document, ...]:
    """Plain copies that share nothing, with each other or with the specs."""
    return tuple(thaw(document) for document in documents)


def _owned(documents: Iterable[Document], kind: str, name: str) -> list[Document]:
    owner = {
        "apiVersion": "nvidia.com/v1beta1",
        "kind": kind,
        "name": name,
        "controller": True,
        "blockOwnerDeletion": True,
    }
    return [
        {**document, "metadata": {**document["metadata"], "ownerReferences": [dict(owner)]}} for document in documents
    ]


def _unique(documents: Iterable[Document]) -> list[Document]:
    """The first of each kind and name: components with one base model share its Service."""
    by_identity: dict[tuple[str, str], Document] = {}
    for document in documents:
        by_identity.setdefault((document["kind"], document["metadata"]["name"]), document)
    return list(by_identity.values())


def _wait_script(parent: str, components: Iterable[Component]) -> list[Document]:
    """The script that workers of multinode components wait with, one for all of them."""
    return [render_wait_script(parent)] if any(each.node_count > 1 for each in components) else []


def _scaling_adapter(graph: Graph, deployment: ComponentDeployment) -> Document:
    component = deployment.component
    return {
        "apiVersion": "nvidia.com/v1beta1",
        "kind": "DynamoGraphDeploymentScalingAdapter",
        "metadata": {
            "name": f"{graph.name}-{component.name.lower()}",
            "labels": {names.COMPONENT: component.name, names.GRAPH_NAME: graph.name},
        },
        "spec": {
            "replicas": component.replicas,
            "dgdRef": {"name": graph.name, "componentName": component.name},
        },
    }


def _claim(claim: Claim) -> Document:
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": claim.name},
        "spec": {
            "accessModes": [claim.access_mode],
            "resources": {"requests": {"storage": claim.size}},
            "storageClassName": claim.storage_class,
        },
    }
