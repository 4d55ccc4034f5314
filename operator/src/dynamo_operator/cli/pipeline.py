"""From a manifest to the objects a cluster would get: validate, convert, parse, render. Called by `up` and `render`.

Every violation is shown at once, each with its line. Nothing is started or written here.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dynamo_operator.api import SpecError, parse_component_deployment, parse_graph
from dynamo_operator.cli.manifests import Document
from dynamo_operator.convert import to_v1beta1
from dynamo_operator.local.errors import Refused
from dynamo_operator.render import RenderContext, RenderError, render, render_component_deployment
from dynamo_operator.validate import Context, validate, warnings
from dynamo_operator.validate.text_forms import LABEL_FORM, is_label

GRAPH = "DynamoGraphDeployment"
COMPONENT = "DynamoComponentDeployment"
OTHER_KINDS = (COMPONENT, "DynamoGraphDeploymentRequest", "DynamoGraphDeploymentScalingAdapter")
USUAL_NAMESPACE = "default"


@dataclass(frozen=True, slots=True)
class Rendered:
    """One document's objects; `warnings` are about deprecated or ignored fields."""

    name: str
    namespace: str
    """Kubernetes namespace that they are for."""
    is_namespace_given: bool
    """Somebody named it; otherwise it is only the usual one."""
    objects: tuple[Mapping[str, Any], ...]
    warnings: tuple[str, ...]


def render_document(document: Document, namespace: str | None) -> Rendered:
    """Raises Refused with every violation. `namespace` None: what the manifest says, or `default`."""
    if namespace is not None and not is_label(namespace):
        raise Refused(f"--namespace: found {namespace!r}", f"allowed: {LABEL_FORM}")
    metadata = document.value.get("metadata")
    given = namespace or (metadata.get("namespace") if isinstance(metadata, Mapping) else None)
    where = str(given or USUAL_NAMESPACE)
    cluster = Context(namespace=where)
    violations = validate(document.value, cluster)
    if violations:
        lines = [f"  {document.file}:{document.line(each.path)}: {each}" for each in violations]
        count = "1 mistake" if len(lines) == 1 else f"{len(lines)} mistakes"
        raise Refused("\n".join([f"{document.title} has {count}:", *lines]))
    context = RenderContext(namespace=where)
    try:
        current = to_v1beta1(document.value)
        objects = (
            render(parse_graph(current), context)
            if document.kind == GRAPH
            else render_component_deployment(parse_component_deployment(current), context)
        )
    except (SpecError, RenderError) as error:
        raise Refused(f"{document.title}: {error}") from error
    return Rendered(
        name=document.name,
        namespace=where,
        is_namespace_given=bool(given),
        objects=tuple(objects),
        warnings=warnings(document.value, cluster),
    )


def choose_graph(documents: Sequence[Document], wanted: str | None) -> tuple[Document, tuple[str, ...]]:
    """The graph to run, and one note for each other document. Raises Refused if there is none or a choice."""
    graphs = [document for document in documents if document.is_ours and document.kind == GRAPH]
    names = [document.name for document in graphs]
    if not graphs:
        found = ", ".join(document.title for document in documents)
        kinds = difflib.get_close_matches(documents[0].kind, [GRAPH, *OTHER_KINDS], n=1)
        hint = f"did you mean kind: {GRAPH}, apiVersion: nvidia.com/v1beta1?" if kinds == [GRAPH] else ""
        raise Refused(f"{documents[0].file} holds no {GRAPH}; found: {found}", hint)
    if wanted is not None and wanted not in names:
        near = difflib.get_close_matches(wanted, names, n=1)
        raise Refused(f"{documents[0].file} holds no graph {wanted!r}", f"it holds: {', '.join(near or names)}")
    if wanted is None and len(graphs) > 1:
        raise Refused(f"{documents[0].file} holds {len(graphs)} graphs: {', '.join(names)}", "choose one with --graph")
    chosen = graphs[names.index(wanted)] if wanted is not None else graphs[0]
    others = [document for document in documents if document is not chosen]
    return chosen, tuple(f"{document.title} is passed over: only a graph runs here" for document in others)
