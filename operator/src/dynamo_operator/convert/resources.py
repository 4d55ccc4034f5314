"""Whole objects: which kinds convert, and how metadata, spec and status come together.

Duty: `convert`, `to_v1beta1`, `to_v1alpha1`. Ban: no rules about fields.
Callers: through the package's `__init__`.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from dynamo_operator.convert import graph, single, status
from dynamo_operator.convert.documents import V1ALPHA1, V1BETA1, ConversionError, Document, mapping
from dynamo_operator.convert.preserved import (
    COMPONENT_PREFIX,
    GRAPH_PREFIX,
    Preserved,
    annotated,
    read_spec,
    read_status,
    scrubbed,
)

_ADAPTER = "DynamoGraphDeploymentScalingAdapter"
_KINDS = ("DynamoGraphDeployment", "DynamoComponentDeployment", _ADAPTER)


def to_v1beta1(obj: Mapping[str, Any]) -> Document:
    """`obj` as v1beta1; a new document. Raises ConversionError."""
    return convert(obj, V1BETA1)


def to_v1alpha1(obj: Mapping[str, Any]) -> Document:
    """`obj` as v1alpha1; a new document. Raises ConversionError."""
    return convert(obj, V1ALPHA1)


def convert(obj: Mapping[str, Any], api_version: str) -> Document:
    """`obj` in `api_version`, as a new document; `obj` itself is not touched.

    Any object is returned as it is in its own version. Raises ConversionError for another kind or version, and for an
    object whose structure cannot be read, naming the field.
    """
    source = mapping(copy.deepcopy(dict(obj)), "object")
    kind, found = source.get("kind"), source.get("apiVersion")
    if found == api_version:
        return source
    if kind not in _KINDS:
        raise ConversionError(
            f"kind: {kind} has no conversion from {found} to {api_version}; allowed: {_listed(_KINDS)}"
        )
    for version in (found, api_version):
        if version not in (V1ALPHA1, V1BETA1):
            raise ConversionError(f"apiVersion: found {version!r} for {kind}; allowed: {V1ALPHA1}, {V1BETA1}")
    if kind == _ADAPTER:
        return _adapter(source, api_version)
    return _graph_or_component(source, api_version)


def _graph_or_component(source: Document, api_version: str) -> Document:
    is_graph = source["kind"] == "DynamoGraphDeployment"
    prefix = GRAPH_PREFIX if is_graph else COMPONENT_PREFIX
    metadata = mapping(source.get("metadata"), "metadata")
    annotations = mapping(metadata.get("annotations"), "metadata.annotations")
    spec, old_status = mapping(source.get("spec"), "spec"), mapping(source.get("status"), "status")
    is_upward = api_version == V1BETA1
    kept, kept_status = read_spec(annotations, prefix), read_status(annotations, prefix)
    if not _is_readable(kept, is_graph=is_graph, is_upward=is_upward):
        kept = Preserved()
    if is_graph:
        new_spec, keeping = (graph.spec_to_beta if is_upward else graph.spec_to_alpha)(spec, kept)
        turn = status.graph_to_beta if is_upward else status.graph_to_alpha
    else:
        name = str(metadata.get("name") or "")
        new_spec, keeping = (single.spec_to_beta if is_upward else single.spec_to_alpha)(spec, kept, name)
        turn = status.component_to_beta if is_upward else status.component_to_alpha
    new_status, keeping_status = turn(old_status, kept_status)
    converted = {**source, "apiVersion": api_version}
    converted["metadata"] = annotated(scrubbed(metadata, prefix), prefix, keeping, keeping_status)
    converted.update({"spec": new_spec} if source.get("spec") is not None else {})
    converted.update({"status": new_status} if source.get("status") is not None else {})
    return converted


def _is_readable(kept: Preserved, *, is_graph: bool, is_upward: bool) -> bool:
    """Whether a payload is a spec of the version that it was kept for; anybody may have edited it."""
    try:
        if not is_graph:
            for spec in (kept.spec, kept.exact):
                (single.spec_to_alpha if is_upward else single.spec_to_beta)(spec, Preserved(), "")
        elif is_upward:
            exact = [{**mapping(entry, name), "name": name} for name, entry in kept.exact.items()]
            graph.spec_to_alpha(kept.spec, Preserved())
            graph.spec_to_alpha({"components": exact}, Preserved())
        else:
            graph.spec_to_beta(kept.spec, Preserved())
            graph.spec_to_beta({"services": kept.exact}, Preserved())
    except ConversionError:
        return False
    return True


def _adapter(source: Document, api_version: str) -> Document:
    old, new = ("serviceName", "componentName") if api_version == V1BETA1 else ("componentName", "serviceName")
    spec = mapping(source.get("spec"), "spec")
    reference = mapping(spec.get("dgdRef"), "spec.dgdRef")
    if reference:
        spec["dgdRef"] = {new if key == old else key: value for key, value in reference.items()}
    converted = {**source, "apiVersion": api_version}
    return {**converted, "spec": spec} if "spec" in source else converted


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(names)
