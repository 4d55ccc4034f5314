"""The Grove pathway: a graph becomes one PodCliqueSet, with a PodClique per single-node component and a scaling group
per multinode one.

Duty: the PodCliqueSet and the Services beside it. It must not choose the pathway (`render.pathway` does), nor know how
an engine spans nodes (`render.multinode` does). Callers: `render.graph`, `render.workloads`.
"""

from __future__ import annotations

from dynamo_operator.render.grove.names import child_name, has_scaling_group, pod_clique_set_name
from dynamo_operator.render.grove.pod_clique_set import render_pod_clique_set
from dynamo_operator.render.grove.service import render_grove_service

__all__ = [
    "child_name",
    "has_scaling_group",
    "pod_clique_set_name",
    "render_grove_service",
    "render_pod_clique_set",
]
