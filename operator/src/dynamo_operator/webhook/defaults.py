"""Defaulting: what the operator writes into a new or changed object, as JSON Patch operations.

Pure. Only what other programs read from the stored object is written (a missing `replicas` reads as 0 to a planner);
all other defaults belong to rendering. Nothing that is set is ever changed, so applying a manifest again changes
nothing. Where a client replaces the whole object and leaves out what was filled in before, the stored value is kept.
Called by `admission`.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from dynamo_operator.validate import Context, Pathway
from dynamo_operator.validate.field import Field
from dynamo_operator.validate.graph import ORIGIN_VERSION, PROVIDER, pathway_of
from dynamo_operator.validate.manifest import COMPONENT, GRAPH, is_alpha
from dynamo_operator.validate.view import ComponentView, components_of, is_of_a_graph

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Defaulted:
    """The object as it will be stored, and the JSON Patch that makes it so."""

    document: Document
    operations: tuple[Document, ...] = ()


@dataclass(slots=True)
class _Draft:
    """A copy of the object that records what is set in it."""

    document: Document
    operations: list[Document] = field(default_factory=list)

    def set(self, path: tuple[str | int, ...], value: object) -> None:
        """Sets a field whose parent exists."""
        parent: Any = self.document
        for step in path[:-1]:
            parent = parent[step]
        parent[path[-1]] = value
        self.operations.append({"op": "add", "path": pointer(path), "value": value})


def defaulted(
    document: Mapping[str, Any], old: Mapping[str, Any] | None, context: Context, operator_version: str
) -> Defaulted:
    """`document` with its defaults; `old` is the stored object of an update, in the same version.

    An object whose structure is broken gets what it can: validation names the mistake.
    """
    if document.get("kind") not in (GRAPH, COMPONENT) or not isinstance(document.get("metadata"), dict):
        return Defaulted(dict(document))
    draft = _Draft(copy.deepcopy(dict(document)))
    if not is_of_a_graph(Field("", document)):
        _set_annotation(draft, old, ORIGIN_VERSION, operator_version)
    if document["kind"] == GRAPH:
        _set_annotation(draft, old, PROVIDER, pathway_of(Field("", document), context).value)
    if isinstance(document.get("spec"), dict):
        _set_name(draft)
        _set_counts(draft, old, context)
    return Defaulted(draft.document, tuple(draft.operations))


def pointer(path: tuple[str | int, ...]) -> str:
    """A JSON Pointer (RFC 6901)."""
    return "".join("/" + str(step).replace("~", "~0").replace("/", "~1") for step in path)


def _set_annotation(draft: _Draft, old: Mapping[str, Any] | None, key: str, at_creation: str) -> None:
    """What was true when an object was created, and holds for its life: the contract's version, the workload provider.

    Later operators, and orchestrators that are installed later, go on treating it by that.
    """
    metadata = draft.document["metadata"]
    stored = at_creation if old is None else Field("", old)["metadata"]["annotations"][key].text
    annotations = metadata.get("annotations")
    if not stored or not isinstance(annotations, dict | None) or key in (annotations or {}):
        return
    if annotations is None:
        draft.set(("metadata", "annotations"), {})
    draft.set(("metadata", "annotations", key), stored)


def _set_name(draft: _Draft) -> None:
    document = draft.document
    name = document["metadata"].get("name")
    if document["kind"] == COMPONENT and not is_alpha(document) and name and document["spec"].get("name") is None:
        draft.set(("spec", "name"), name)


def _set_counts(draft: _Draft, old: Mapping[str, Any] | None, context: Context) -> None:
    root = Field("", draft.document)
    is_gang = root["kind"].text == GRAPH and pathway_of(root, context) is Pathway.GROVE
    alpha = is_alpha(draft.document)
    stored = {part.name: part for part in components_of(Field("", old), is_alpha=alpha)} if old else {}
    for path, component in _placed_components(root, is_alpha=alpha):
        was = stored.get(component.name)
        if not component.field["replicas"].is_present:
            keeps = was is not None and component.has_scaling_adapter and was.has_scaling_adapter
            draft.set((*path, "replicas"), was.replicas if keeps and was else 1)
        if is_gang and not component.field["minAvailable"].is_present:
            least = was.field["minAvailable"].integer if was else None
            draft.set((*path, "minAvailable"), 1 if least is None else least)


def _placed_components(root: Field, *, is_alpha: bool) -> Iterator[tuple[tuple[str | int, ...], ComponentView]]:
    """Each component that is an object, and the way to it."""
    components = components_of(root, is_alpha=is_alpha)
    if root["kind"].text == COMPONENT:
        places: list[tuple[str | int, ...]] = [("spec",)]
    elif is_alpha:
        places = [("spec", "services", component.name) for component in components]
    else:
        places = [("spec", "components", index) for index in range(len(components))]
    for path, component in zip(places, components, strict=True):
        if isinstance(component.field.value, Mapping):
            yield path, component
