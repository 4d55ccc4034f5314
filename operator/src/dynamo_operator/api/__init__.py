"""Frozen typed specs of graphs and components, parsed from v1beta1 documents.

Duty: turn a JSON-like mapping into values that the deciding code can trust, and name the field when it cannot.
It must not default what depends on a cluster, validate semantics (`dynamo_operator.validate` does) or do I/O.
Callers: rendering, reconciling, the laptop runner. Objects of v1alpha1 are converted first (`dynamo_operator.convert`).
"""

from __future__ import annotations

from dynamo_operator.api.documents import JsonObject, freeze, said, thaw
from dynamo_operator.api.errors import SpecError
from dynamo_operator.api.gangs import ComponentGang, GraphGang, ProviderOverride
from dynamo_operator.api.parse import parse_component_deployment, parse_graph
from dynamo_operator.api.specs import (
    WORKER_TYPES,
    Claim,
    Component,
    ComponentDeployment,
    ComponentType,
    Graph,
    Preserved,
)

__all__ = [
    "WORKER_TYPES",
    "Claim",
    "Component",
    "ComponentDeployment",
    "ComponentGang",
    "ComponentType",
    "Graph",
    "GraphGang",
    "JsonObject",
    "Preserved",
    "ProviderOverride",
    "SpecError",
    "freeze",
    "parse_component_deployment",
    "parse_graph",
    "said",
    "thaw",
]
