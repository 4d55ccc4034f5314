"""The Service of a component on the Grove pathway. Pure."""

from __future__ import annotations

from typing import Any

from dynamo_operator.api import ComponentDeployment, Graph
from dynamo_operator.render.context import RenderContext
from dynamo_operator.render.grove.metadata import written_annotations, written_labels
from dynamo_operator.render.network import render_service
from dynamo_operator.render.pod import discovery_labels

Document = dict[str, Any]


def render_grove_service(graph: Graph, deployment: ComponentDeployment, context: RenderContext) -> list[Document]:
    """As on the other pathway, with the users' own labels instead of those that describe a component deployment."""
    return [_relabelled(service, graph, deployment, context) for service in render_service(deployment, context)]


def _relabelled(service: Document, graph: Graph, deployment: ComponentDeployment, context: RenderContext) -> Document:
    metadata: Document = {"name": service["metadata"]["name"]}
    labels = {**written_labels(graph, deployment), **discovery_labels(deployment, context)}
    annotations = written_annotations(graph, deployment)
    metadata |= {key: value for key, value in (("labels", labels), ("annotations", annotations)) if value}
    return {**service, "metadata": metadata}
