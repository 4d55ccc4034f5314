"""Labels and annotations that users gave a component, or its graph. Pure."""

from __future__ import annotations

from dynamo_operator.api import ComponentDeployment


def written_labels(deployment: ComponentDeployment) -> dict[str, str]:
    """Labels of the component's pod template, which the graph's are already in; a worker's has its generation."""
    return {**deployment.component.preserved.labels, **_template(deployment, "labels")}


def written_annotations(deployment: ComponentDeployment) -> dict[str, str]:
    """The same of annotations, with those that the component inherits from its graph."""
    return {**deployment.component.preserved.annotations, **_template(deployment, "annotations")}


def _template(deployment: ComponentDeployment, key: str) -> dict[str, str]:
    metadata = deployment.component.pod_template.get("metadata") or {}
    return {name: text for name, text in (metadata.get(key) or {}).items() if text is not None}
