"""`dynamo plan`: what an apply would do, against a cluster or against an older manifest. Called by `main`.

read -> check -> compare -> preview -> print. Nothing is written anywhere. Exit codes: 0 nothing would change, 2
something would, 1 an error: the files cannot be read, or the change would be refused.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

from dynamo_operator.api import SpecError
from dynamo_operator.cli.apply import applied_over, last_applied, tidied
from dynamo_operator.cli.cluster import Absent, Cluster, connect
from dynamo_operator.cli.manifests import Document, manifest_files, read_documents
from dynamo_operator.cli.plan_text import plan_document, plan_lines
from dynamo_operator.cli.stored import stored
from dynamo_operator.cli.target import Target
from dynamo_operator.cli.terminal import paint_for
from dynamo_operator.convert import ConversionError, to_v1beta1
from dynamo_operator.kube.objects import (
    COMPONENT_DEPLOYMENT,
    GRAPH,
    INFERENCE_POOL,
    KINDS,
    LEADER_WORKER_SET,
    POD_CLIQUE_SET,
    SCALING_ADAPTER,
    Kind,
)
from dynamo_operator.lint import is_judged
from dynamo_operator.local.errors import Refused
from dynamo_operator.plan.preview import Preview, manifest_preview, preview
from dynamo_operator.render import RenderContext, RenderError
from dynamo_operator.validate import Context, Violation, validate, validate_update
from dynamo_operator.validate.text_forms import is_subdomain

UNCHANGED, FAILED, CHANGED = 0, 1, 2
_OPTIONAL = (POD_CLIQUE_SET, LEADER_WORKER_SET, INFERENCE_POOL)
_RENDERED = frozenset({GRAPH.name, COMPONENT_DEPLOYMENT.name})
_CONVERTED = _RENDERED | {SCALING_ADAPTER.name}


@dataclass(frozen=True, slots=True)
class PlanOptions:
    """`against`: an older manifest instead of a cluster; `has_grove` then says what the cluster has."""

    file: Path
    against: Path | None
    output: Literal["text", "json", "yaml"]
    target: Target
    has_grove: bool = False


@dataclass(frozen=True, slots=True)
class Planned:
    """One manifest's preview; `kind`, `name` and `namespace` say whose. `is_new`: it does not exist yet."""

    kind: str
    name: str
    namespace: str
    is_new: bool
    preview: Preview


@dataclass(frozen=True, slots=True)
class Present:
    """What there is before: the object in v1beta1, None if there is none, and how many replicas serve."""

    document: dict[str, Any] | None
    last: Mapping[str, Any] | None = None
    ready: Mapping[str, int] | None = None


class _Nothing:
    """An older manifest, or none: replicas are taken to be all ready."""

    def __init__(self, documents: Iterable[Document], *, has_grove: bool, namespace: str) -> None:
        self._documents = {(each.kind, each.name): each for each in documents}
        self.facts = Context(has_grove=has_grove, has_leader_worker_sets=True, has_inference_pools=True)
        self.namespace = namespace

    def present(self, kind: Kind, name: str, _: str) -> Present:
        found = self._documents.get((kind.name, name))
        if found is None:
            return Present(None)
        _check(found, validate(found.value, self.facts))
        return Present(_current(found.value), _current(found.value))


class _Live:
    """A cluster: its objects, and which optional kinds it serves."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        served = cluster.serves(_OPTIONAL)
        self.facts = Context(
            has_grove=POD_CLIQUE_SET in served,
            has_leader_worker_sets=LEADER_WORKER_SET in served,
            has_inference_pools=INFERENCE_POOL in served,
        )
        self.namespace = cluster.namespace

    def present(self, kind: Kind, name: str, namespace: str) -> Present:
        try:
            live = self._cluster.within(namespace).get(kind, name)
        except Absent:
            return Present(None)
        last = last_applied(live)
        return Present(tidied(live), _current(last) if last else None, _ready(live))


def plan_file(options: PlanOptions) -> int:
    """Prints the plan and returns the exit code; raises Refused where there is none."""
    documents = _documents(options.file)
    judged = [each for each in documents if is_judged(each.value)]
    for each in documents:
        if each not in judged:
            print(f"note: {each.title} is passed over: not an object of nvidia.com", file=sys.stderr)
    if not judged:
        raise Refused(f"{options.file} holds nothing to plan", "graphs, components, adapters and models can be planned")
    before = _before(options)
    planned = [_planned(each, before) for each in judged]
    _print(planned, options.output)
    return UNCHANGED if all(each.preview.is_empty for each in planned) else CHANGED


def _documents(path: Path) -> list[Document]:
    return [document for file in manifest_files([path]) for document in read_documents(file)]


def _before(options: PlanOptions) -> _Nothing | _Live:
    if options.against is None:
        return _Live(connect(options.target))
    if options.target.kubeconfig is not None or options.target.context is not None:
        raise Refused("--against compares two files and asks no cluster", "leave out --kubeconfig and --context")
    namespace = options.target.namespace or "default"
    return _Nothing(_documents(options.against), has_grove=options.has_grove, namespace=namespace)


def _planned(document: Document, before: _Nothing | _Live) -> Planned:
    """Raises Refused with every mistake, as admission would."""
    metadata = document.value.get("metadata")
    given = metadata.get("namespace") if isinstance(metadata, Mapping) else None
    namespace = str(given or before.namespace)
    facts = Context(
        has_grove=before.facts.has_grove,
        has_leader_worker_sets=before.facts.has_leader_worker_sets,
        has_inference_pools=before.facts.has_inference_pools,
        namespace=namespace,
    )
    kind = KINDS.get(("nvidia.com/v1beta1", document.kind)) or KINDS.get(("nvidia.com/v1alpha1", document.kind))
    if kind is None:
        _check(document, validate(document.value, facts))
        raise Refused(f"{document.title} cannot be planned")
    if not is_subdomain(document.name):
        _check(document, validate(document.value, facts))
    present = before.present(kind, document.name, namespace)
    if present.document is None:
        _check(document, validate(document.value, facts))
    try:
        was, wanted = _stored(present, _current(document.value), facts)
    except ConversionError as error:
        _check(document, validate(document.value, facts))
        raise Refused(f"{document.title}: {error}") from error
    if was is not None:
        _check(document, validate_update(was, wanted, facts))
    rendering = RenderContext(namespace, has_grove=facts.has_grove, has_leader_worker_sets=facts.has_leader_worker_sets)
    try:
        found = (
            preview(was, wanted, rendering, present.ready)
            if kind.name in _RENDERED
            else manifest_preview(was, wanted, namespace)
        )
    except (SpecError, RenderError) as error:
        raise Refused(f"{document.title}: {error}") from error
    return Planned(document.kind, document.name, namespace, was is None, found)


def _stored(present: Present, wanted: dict[str, Any], facts: Context) -> tuple[dict[str, Any] | None, dict[str, Any]]:
    """Both sides as the cluster stores them."""
    if present.document is None:
        return None, stored(wanted, None, facts)
    was = stored(present.document, present.document, facts)
    return was, stored(applied_over(was, wanted, present.last), was, facts)


def _current(document: Mapping[str, Any]) -> dict[str, Any]:
    """In the version that is stored; some kinds have one only."""
    return to_v1beta1(document) if document.get("kind") in _CONVERTED else dict(document)


def _check(document: Document, violations: Sequence[Violation]) -> None:
    if violations:
        lines = [f"  {document.file}:{document.line(each.path)}: {each}" for each in violations]
        raise Refused("\n".join([f"{document.title} would be refused:", *lines]))


def _ready(live: Mapping[str, Any]) -> dict[str, int]:
    """Replicas that serve by component, as far as the object's status tells."""
    status = live.get("status") or {}
    components = dict(status.get("components") or {})
    if live["kind"] != GRAPH.name and status.get("component"):
        components = {str(live["spec"].get("name") or live["metadata"]["name"]): status["component"]}
    counts = {name: each.get("availableReplicas", each.get("readyReplicas")) for name, each in components.items()}
    return {name: int(count) for name, count in counts.items() if count is not None}


def _print(planned: list[Planned], output: Literal["text", "json", "yaml"]) -> None:
    if output == "text":
        paint = paint_for(sys.stdout)
        for each in planned:
            print(
                "\n".join(
                    plan_lines(f"{each.kind} {each.namespace}/{each.name}", each.preview, paint, is_new=each.is_new)
                )
            )
        return
    documents = [
        {
            "kind": each.kind,
            "name": each.name,
            "namespace": each.namespace,
            "isNew": each.is_new,
            **plan_document(each.preview),
        }
        for each in planned
    ]
    if output == "json":
        print(json.dumps({"plans": documents}, indent=2, ensure_ascii=False))
    else:
        print(yaml.safe_dump({"plans": documents}, sort_keys=False, allow_unicode=True, width=120), end="")
