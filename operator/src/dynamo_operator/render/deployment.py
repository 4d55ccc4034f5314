"""The Deployment of a single-node component. Pure."""

from __future__ import annotations

from typing import Any

from dynamo_operator.api import ComponentDeployment
from dynamo_operator.render import names
from dynamo_operator.render.context import RenderContext
from dynamo_operator.render.errors import RenderError
from dynamo_operator.render.pod import object_annotations, object_labels, pod_template

DEFAULT_SURGE = "25%"


def render_deployment(deployment: ComponentDeployment, context: RenderContext) -> dict[str, Any]:
    """The apps/v1 Deployment, named as its component deployment."""
    component = deployment.component
    annotations = object_annotations(deployment)
    metadata: dict[str, Any] = {"name": deployment.name, "labels": object_labels(deployment, context)}
    if annotations:
        metadata["annotations"] = annotations
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata,
        "spec": {
            "replicas": component.replicas,
            "selector": {"matchLabels": {names.SELECTOR: deployment.name}},
            "strategy": _strategy(component.name, annotations),
            "template": pod_template(deployment, context),
        },
    }


def _strategy(component: str, annotations: dict[str, str]) -> dict[str, Any]:
    kind = annotations.get(names.STRATEGY) or "RollingUpdate"
    match kind:
        case "Recreate":
            return {"type": kind}
        case "RollingUpdate":
            limits = {
                "maxSurge": _limit(annotations.get(names.MAX_SURGE) or DEFAULT_SURGE),
                "maxUnavailable": _limit(annotations.get(names.MAX_UNAVAILABLE) or DEFAULT_SURGE),
            }
            return {"type": kind, "rollingUpdate": limits}
        case _:
            raise RenderError(component, f"annotation {names.STRATEGY} is {kind!r}", "allowed: RollingUpdate, Recreate")


def _limit(text: str) -> int | str:
    """A count or a percentage, in the type that Kubernetes expects."""
    return int(text) if text.isdigit() else text
