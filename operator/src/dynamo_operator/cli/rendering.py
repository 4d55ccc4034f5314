"""`dynamo render`: prints what a cluster would get. Called by `main`."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import yaml

from dynamo_operator.api import thaw
from dynamo_operator.cli.manifests import read_documents
from dynamo_operator.cli.pipeline import COMPONENT, GRAPH, Rendered, render_document
from dynamo_operator.lint import is_judged
from dynamo_operator.local.errors import Refused

# What kubectl's YAML reader takes for a truth value or a number, beyond what PyYAML itself puts in quotes.
_READ_AS_BOOL = re.compile(r"[yYnN]$")
_READ_AS_NUMBER = re.compile(r"[-+]?(?:\.?\d[\d_.eE+-]*|0[xXoObB][\da-fA-F_]+)$")


class _Dumper(yaml.SafeDumper):
    """YAML that kubectl reads as it was meant; text of several lines is a block."""

    def represent_text(self, text: str) -> yaml.ScalarNode:
        return self.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _Dumper.represent_text)
_Dumper.add_implicit_resolver("tag:yaml.org,2002:bool", _READ_AS_BOOL, list("yYnN"))
_Dumper.add_implicit_resolver("tag:yaml.org,2002:float", _READ_AS_NUMBER, list("-+.0123456789"))


def print_rendered(file: Path, *, as_json: bool, namespace: str | None) -> None:
    """Graphs and components of the file, in its order; other documents are named on standard error."""
    documents = read_documents(file)
    objects = []
    for document in documents:
        if not is_judged(document.value) or document.kind not in {GRAPH, COMPONENT, ""}:
            print(f"note: {document.title} is passed over: it renders to nothing", file=sys.stderr)
            continue
        rendered = render_document(document, namespace)
        for warning in rendered.warnings:
            print(f"warning: {document.title}: {warning}", file=sys.stderr)
        if not rendered.is_namespace_given:
            note = f"{document.title} names no namespace, so this is for {rendered.namespace}; --namespace chooses"
            print(f"note: {note}", file=sys.stderr)
        objects += [_applicable(thaw(each), rendered) for each in rendered.objects]
    if not objects:
        raise Refused(f"{file} holds nothing to render", f"allowed kinds: {GRAPH}, {COMPONENT} of nvidia.com")
    if as_json:
        print(json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}, indent=2))
    else:
        print(yaml_text(objects), end="")


def yaml_text(objects: list[dict[str, Any]]) -> str:
    return yaml.dump_all(objects, Dumper=_Dumper, sort_keys=False, explicit_start=True, width=120, allow_unicode=True)


def _applicable(document: dict[str, Any], rendered: Rendered) -> dict[str, Any]:
    """As `kubectl apply` takes it: with its namespace, since values inside name it too, and without owners.

    An owner reference needs the owner's uid, which only a cluster gives.
    """
    metadata = {"name": document["metadata"]["name"], "namespace": rendered.namespace, **document["metadata"]}
    metadata.pop("ownerReferences", None)
    return {**document, "metadata": metadata}
