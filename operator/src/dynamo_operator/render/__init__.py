"""Rendering: a graph becomes the Kubernetes objects that run it.

Duty: pure functions from typed specs and a RenderContext to documents, ready for server-side apply. It must not read
clusters, files, clocks or environment, and never changes its input. Callers: the reconciler, `dynamo render`, and the
laptop runner, which starts the rendered pod templates as local processes.

Owner references carry kind and name; whoever applies the objects adds the owner's uid, which only the cluster knows.
"""

from __future__ import annotations

from dynamo_operator.render.component_deployment import component_deployments
from dynamo_operator.render.context import IngressDefaults, RenderContext
from dynamo_operator.render.errors import LacksKind, RenderError
from dynamo_operator.render.graph import render, render_component_deployment
from dynamo_operator.render.worker_hash import worker_hash

__all__ = [
    "IngressDefaults",
    "LacksKind",
    "RenderContext",
    "RenderError",
    "component_deployments",
    "render",
    "render_component_deployment",
    "worker_hash",
]
