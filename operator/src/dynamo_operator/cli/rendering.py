"""`dynamo render`: prints what a cluster would get. Called by `main`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import yaml

from dynamo_operator.api import thaw
from dynamo_operator.cli.manifests import read_documents
from dynamo_operator.cli.pipeline import COMPONENT, GRAPH, Rendered, render_document
from dynamo_operator.local.errors import Refused


def print_rendered(file: Path, *, as_json: bool, namespace: str | None) -> None:
    """Graphs and components of the file, in its order; other documents are named on standard error."""
    documents = read_documents(file)
    objects = []
    for document in documents:
        if not (document.is_ours and document.kind in {GRAPH, COMPONENT}):
            print(f"note: {document.title} is passed over: it renders to nothing", file=sys.stderr)
            continue
        rendered = render_document(document, namespace)
        for warning in rendered.warnings:
            print(f"warning: {document.title}: {warning}", file=sys.stderr)
        objects += [_placed(thaw(each), rendered) for each in rendered.objects]
    if not objects:
        raise Refused(f"{file} holds nothing to render", f"allowed kinds: {GRAPH}, {COMPONENT} of nvidia.com")
    if as_json:
        print(json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}, indent=2))
    else:
        print(yaml.safe_dump_all(objects, sort_keys=False, explicit_start=True, width=120), end="")


def _placed(document: dict[str, Any], rendered: Rendered) -> dict[str, Any]:
    """With its namespace, if one was named: `kubectl apply` then needs no flag."""
    if not rendered.is_namespace_given:
        return document
    metadata = {"name": document["metadata"]["name"], "namespace": rendered.namespace, **document["metadata"]}
    return {**document, "metadata": metadata}
