"""Manifests whose rendering by upstream's operator is known, and ours beside it."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from dynamo_operator.api import Graph, parse_graph
from dynamo_operator.convert import to_v1beta1
from dynamo_operator.render import RenderContext, render, worker_hash
from tests.shared import SHARED
from tests.unit.operator_plane.render.differences import Difference, differences
from tests.unit.operator_plane.render.server_defaults import as_stored

Document = dict[str, Any]

CORPUS = SHARED / "corpus"
# Accepted by upstream, which then fails on it; ours refuses it at admission.
REFUSED = {"extra/v1alpha1/main-and-default-types.yaml"}
# Objects that users write; the oracle shows them with status and bookkeeping that a renderer does not make.
INPUT_KINDS = {"DynamoGraphDeployment", "DynamoModel"}
CURRENT_HASH = "nvidia.com/current-worker-hash-v2"

CONTEXT = RenderContext(
    namespace="NAMESPACE",
    planner_cluster_role="up-dynamo-operator-planner",
    epp_cluster_role="up-dynamo-operator-epp",
)

# What upstream's cluster offered, by the folder of rendered/.
CONTEXTS = {
    "component": CONTEXT,
    "gaie": CONTEXT,
    "lws": replace(CONTEXT, has_leader_worker_sets=True),
    "grove": replace(CONTEXT, has_grove=True),
}

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True)
class Case:
    """One graph: as written, and what upstream's operator made of it."""

    manifest: str
    oracle: Path

    @property
    def pathway(self) -> str:
        """The folder of rendered/ that the oracle is from."""
        return self.oracle.relative_to(CORPUS).parts[1]

    @property
    def context(self) -> RenderContext:
        """What we render it with."""
        return CONTEXTS[self.pathway]

    @property
    def source(self) -> Path:
        """The manifest's file."""
        return CORPUS / self.manifest


def cases() -> list[Case]:
    """Every manifest with a DynamoGraphDeployment and a known rendering; empty without the corpus."""
    return [case for case in all_cases() if "\nkind: DynamoGraphDeployment\n" in case.source.read_text()]


def all_cases() -> list[Case]:
    """Every manifest that upstream accepted, with or without a graph in it."""
    files = sorted(file for pathway in CONTEXTS for file in (CORPUS / "rendered" / pathway).rglob("*.objects.yaml"))
    return [case for case in (Case(_manifest(file), file) for file in files) if case.manifest not in REFUSED]


def load(path: Path) -> list[Document]:
    """All documents of a file, with the image placeholder replaced as the oracle's makers did."""
    text = path.read_text().replace(":my-tag", ":1.5.0")
    return [document for document in yaml.load_all(text, Loader=_Loader) if document]


@functools.cache
def graph_of(case: Case) -> Graph:
    """The case's graph, parsed."""
    (document,) = (each for each in load(case.source) if each["kind"] == "DynamoGraphDeployment")
    return parse_graph(to_v1beta1(document))


@functools.cache
def differences_of(case: Case) -> tuple[Difference, ...]:
    """All differences between upstream's objects and ours, generation hashes made equal."""
    graph = graph_of(case)
    theirs = with_hash(load(case.oracle), worker_hash(graph))
    ours = [with_annotations(as_stored(each)) for each in render(graph, case.context)]
    return tuple(differences([each for each in theirs if each["kind"] not in INPUT_KINDS], ours))


def with_hash(oracle: Sequence[Document], hash8: str | None) -> list[Document]:
    """Upstream's documents with its generation hash replaced by ours, found in the graph's annotations."""
    (graph,) = (each for each in oracle if each["kind"] == "DynamoGraphDeployment")
    current = str(graph["metadata"]["annotations"][CURRENT_HASH])
    assert hash8 is not None
    return [with_annotations(_replaced(each, current, hash8)) for each in oracle]


def with_annotations(document: Document) -> Document:
    """The document with annotations, if only empty, so that single keys are compared."""
    document["metadata"].setdefault("annotations", {})
    return document


def _replaced(value: Any, old: str, new: str) -> Any:
    if isinstance(value, dict):
        return {key: _replaced(inner, old, new) for key, inner in value.items()}
    if isinstance(value, list):
        return [_replaced(inner, old, new) for inner in value]
    # An unquoted hash of digits only was read as a number.
    return str(value).replace(old, new) if isinstance(value, str) or str(value) == old else value


def _manifest(oracle: Path) -> str:
    return str(Path(*oracle.relative_to(CORPUS).parts[2:])).removesuffix(".objects.yaml")
