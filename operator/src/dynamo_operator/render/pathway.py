"""Whether a graph runs on Grove, as one gang, or component by component. Pure; called by all of `render`."""

from __future__ import annotations

from dynamo_operator.api import Graph
from dynamo_operator.render.context import RenderContext

ENABLE_GROVE = "nvidia.com/enable-grove"
PROVIDER = "nvidia.com/workload-provider"


def uses_grove(graph: Graph, context: RenderContext) -> bool:
    """Grove where the cluster has it, unless the graph's recorded provider or its annotation says otherwise."""
    provider = graph.metadata_annotations.get(PROVIDER)
    if provider in ("component", "grove"):
        return provider == "grove"
    return context.has_grove and graph.metadata_annotations.get(ENABLE_GROVE, "").lower() != "false"
