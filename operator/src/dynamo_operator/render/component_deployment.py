"""Component deployments of a graph: what every component inherits from it, and the document that carries it. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from dynamo_operator.api import Component, ComponentDeployment, ComponentType, Graph, freeze, thaw
from dynamo_operator.render import names
from dynamo_operator.render.backend import backend_frameworks
from dynamo_operator.render.context import RenderContext
from dynamo_operator.render.environment import merged
from dynamo_operator.render.epp import epp_component
from dynamo_operator.render.errors import RenderError
from dynamo_operator.render.pathway import uses_grove
from dynamo_operator.render.worker_hash import worker_hash

INHERITED_ANNOTATIONS = (
    names.ENABLE_METRICS,
    names.DISCOVERY_BACKEND,
    names.DISCOVERY_MODE,
    names.EXECUTOR_BACKEND,
    names.OWN_PULL_SECRETS_ONLY,
)
NO_MESH_SIDECAR = {"sidecar.istio.io/inject": "false"}


def component_deployments(graph: Graph, context: RenderContext) -> tuple[ComponentDeployment, ...]:
    """One component deployment per component, with the graph's environment, metadata and worker generation merged in.

    Raises RenderError for contradicting engines, names too long and policies that cannot be rendered.
    """
    if graph.has_kv_transfer_policy:
        raise RenderError(graph.name, "experimental.kvTransferPolicy is set", "it is not supported yet")
    # A component deployment names the engine of its whole graph; a clique's pods are what their own command runs.
    frameworks = backend_frameworks(graph, shares=not uses_grove(graph, context))
    hash8 = worker_hash(graph)
    return tuple(
        _expanded(graph, each, context, frameworks[each.name], hash8 if each.is_worker else None)
        for each in graph.components
    )


def component_deployment_document(deployment: ComponentDeployment) -> dict[str, Any]:
    """The v1beta1 document; payload that v1beta1 cannot say travels in an annotation, as in converted objects."""
    metadata: dict[str, Any] = {"name": deployment.name, "labels": dict(deployment.labels)}
    preserved = deployment.component.preserved.document
    if preserved:
        payload = {"version": 1, "spec": thaw(preserved)}
        text = json.dumps(payload, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        metadata["annotations"] = {names.DCD_PAYLOAD: text}
    spec = {**thaw(deployment.component.spec), "podTemplate": thaw(deployment.component.pod_template)}
    if deployment.backend_framework is not None:
        spec["backendFramework"] = deployment.backend_framework
    return {
        "apiVersion": "nvidia.com/v1beta1",
        "kind": "DynamoComponentDeployment",
        "metadata": metadata,
        "spec": spec,
    }


def _expanded(
    graph: Graph, component: Component, context: RenderContext, framework: str | None, hash8: str | None
) -> ComponentDeployment:
    own_labels = _metadata(component, "labels")
    generation = {names.WORKER_HASH: hash8} if hash8 else {}
    if component.is_worker and epp_component(graph) is not None:
        generation[names.COMPONENT_CLASS] = "worker"
    deployment = ComponentDeployment(
        # Grove rolls its pods in place, so nothing on that pathway is named after a generation.
        name=names.component_deployment_name(graph.name, component, None if uses_grove(graph, context) else hash8),
        labels={},
        component=component,
        backend_framework=framework,
        graph_name=graph.name,
    )
    labels = {
        **own_labels,
        names.COMPONENT: component.name,
        names.GRAPH_NAME: graph.name,
        names.NAMESPACE: names.runtime_namespace(context.namespace, deployment),
        **generation,
    }
    pod_template = freeze(_pod_template(graph, component, context, generation))
    return replace(deployment, labels=freeze(labels), component=replace(component, pod_template=pod_template))


def _pod_template(
    graph: Graph, component: Component, context: RenderContext, generation: Mapping[str, str]
) -> dict[str, Any]:
    template: dict[str, Any] = thaw(component.pod_template)
    annotations = {**graph.annotations, **_inherited(graph, component, context), **_metadata(component, "annotations")}
    annotations[names.ORIGIN_VERSION] = graph.metadata_annotations.get(names.ORIGIN_VERSION, context.operator_version)
    metadata = {**(template.get("metadata") or {}), "annotations": annotations}
    labels = {**graph.labels, **_metadata(component, "labels"), **generation}
    if labels:
        metadata["labels"] = labels
    template["metadata"] = metadata
    pod = template["spec"] = template.get("spec") or {}
    if component.type is ComponentType.PLANNER and not uses_grove(graph, context):
        # Whatever is written: the account has the rights that a planner needs, and existing manifests rely on it.
        pod["serviceAccountName"] = names.PLANNER_ACCOUNT
    if graph.env:
        for container in pod.get("containers") or []:
            if container["name"] == "main":
                container["env"] = merged(graph.env, container.get("env") or ())
    return template


def _inherited(graph: Graph, component: Component, context: RenderContext) -> dict[str, str]:
    """Annotations of the graph's own metadata that reach its pods; a queue, groups of nodes outside of Grove."""
    is_group = component.node_count > 1 and not uses_grove(graph, context)
    inherited = (*INHERITED_ANNOTATIONS, names.VOLCANO_QUEUE) if is_group else INHERITED_ANNOTATIONS
    found = {name: graph.metadata_annotations[name] for name in inherited if name in graph.metadata_annotations}
    return {**found, **NO_MESH_SIDECAR} if component.type is ComponentType.EPP else found


def _metadata(component: Component, key: str) -> dict[str, str]:
    metadata = component.pod_template.get("metadata") or {}
    return {name: text for name, text in (metadata.get(key) or {}).items() if text is not None}
