"""Labels and annotations of users on Grove's pathway: a pod's win over its v1alpha1 service's, those over the graph's.

Pure. Component deployments carry the graph's own merged into their pod templates, where they win over the service's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from dynamo_operator.api import ComponentDeployment, Graph
from dynamo_operator.render import names

Key = Literal["labels", "annotations"]


def written_labels(graph: Graph, deployment: ComponentDeployment) -> dict[str, str]:
    """What users said of the component, and a worker's generation."""
    generation = {name: text for name, text in deployment.labels.items() if name == names.WORKER_HASH}
    return {**graph.labels, **deployment.component.preserved.labels, **_own(graph, deployment, "labels"), **generation}


def written_annotations(graph: Graph, deployment: ComponentDeployment) -> dict[str, str]:
    """What users said of the component, without what its pods inherit of the graph's own metadata."""
    preserved = deployment.component.preserved.annotations
    return {**graph.annotations, **preserved, **_own(graph, deployment, "annotations")}


def with_services_words(
    found: Mapping[str, str], graph: Graph, deployment: ComponentDeployment, key: Key
) -> dict[str, str]:
    """`found` on a pod, with what a v1alpha1 service says against its graph where the graph's word was taken."""
    of_graph, own = getattr(graph, key), _own(graph, deployment, key)
    said = getattr(deployment.component.preserved, key)
    overruled = {name for name, text in of_graph.items() if name not in own and found.get(name) == text}
    return {**found, **{name: text for name, text in said.items() if name in overruled}}


def _own(graph: Graph, deployment: ComponentDeployment, key: Key) -> dict[str, str]:
    """What the component's pod template says, as it stands in the graph."""
    (component,) = (each for each in graph.components if each.name == deployment.component.name)
    metadata = component.pod_template.get("metadata") or {}
    return {name: text for name, text in (metadata.get(key) or {}).items() if text is not None}
