"""Graphs and contexts with defaults, for tests that care about one field."""

from __future__ import annotations

from typing import Any

from dynamo_operator.api import Graph, parse_graph
from dynamo_operator.render import RenderContext, render

Document = dict[str, Any]


def a_component(name: str = "Worker", type_: str | None = "worker", **fields: Any) -> Document:
    """One component with an image of a known version; `main` and `pod` extend the container and the pod."""
    main = {"name": "main", "image": "engine:1.5.0", **fields.pop("main", {})}
    pod = {"containers": [main], **fields.pop("pod", {})}
    template = {"spec": pod, **fields.pop("template", {})}
    entry: Document = {"name": name, "podTemplate": template, **fields}
    return entry if type_ is None else {**entry, "type": type_}


def a_graph_document(*components: Document, name: str = "g", **spec: Any) -> Document:
    """A v1beta1 document; `annotations_` are those of its metadata."""
    metadata = {"name": name, "annotations": spec.pop("annotations_", {})}
    return {
        "apiVersion": "nvidia.com/v1beta1",
        "kind": "DynamoGraphDeployment",
        "metadata": metadata,
        "spec": {"components": list(components or (a_component(),)), **spec},
    }


def a_graph(*components: Document, **spec: Any) -> Graph:
    """The same, parsed."""
    return parse_graph(a_graph_document(*components, **spec))


def a_context(**fields: Any) -> RenderContext:
    """A context in namespace `ns`."""
    return RenderContext(**{"namespace": "ns", **fields})


def rendered(graph: Graph, kind: str, **context: Any) -> list[Document]:
    """The graph's objects of one kind."""
    return [each for each in render(graph, a_context(**context)) if each["kind"] == kind]


def main_container(graph: Graph, position: int = 0, **context: Any) -> Document:
    """The first container of the n-th Deployment."""
    container: Document = pod_spec(graph, position, **context)["containers"][0]
    return container


def pod_spec(graph: Graph, position: int = 0, **context: Any) -> Document:
    """The pod of the n-th Deployment."""
    spec: Document = rendered(graph, "Deployment", **context)[position]["spec"]["template"]["spec"]
    return spec


def env_of(container: Document) -> dict[str, Any]:
    """Values by name; None for entries without a value."""
    return {each["name"]: each.get("value") for each in container["env"]}


def a_set(graph: Graph, **context: Any) -> Document:
    """The graph's PodCliqueSet."""
    (document,) = rendered(graph, "PodCliqueSet", has_grove=True, **context)
    return document


def gang_template(graph: Graph, **context: Any) -> Document:
    """The template of the graph's PodCliqueSet."""
    template: Document = a_set(graph, **context)["spec"]["template"]
    return template


def a_clique(graph: Graph, position: int = 0, **context: Any) -> Document:
    """The n-th clique of the graph's PodCliqueSet."""
    clique: Document = gang_template(graph, **context)["cliques"][position]
    return clique
