"""The Service of a component on the Grove pathway. Pure."""

from __future__ import annotations

from typing import Any

from dynamo_operator.api import ComponentDeployment
from dynamo_operator.render import names
from dynamo_operator.render.context import RenderContext
from dynamo_operator.render.grove.metadata import written_annotations, written_labels
from dynamo_operator.render.network import render_service
from dynamo_operator.render.pod import discovery_labels

Document = dict[str, Any]


def render_grove_service(deployment: ComponentDeployment, context: RenderContext) -> list[Document]:
    """As on the other pathway, with the users' own labels instead of those that describe a component deployment."""
    return [_relabelled(service, deployment, context) for service in render_service(deployment, context)]


def _relabelled(service: Document, deployment: ComponentDeployment, context: RenderContext) -> Document:
    metadata: Document = {"name": service["metadata"]["name"]}
    labels = {**written_labels(deployment), **discovery_labels(deployment, context)}
    annotations = written_annotations(deployment)
    annotations.pop(names.ORIGIN_VERSION, None)
    metadata |= {key: value for key, value in (("labels", labels), ("annotations", annotations)) if value}
    return {**service, "metadata": metadata}
