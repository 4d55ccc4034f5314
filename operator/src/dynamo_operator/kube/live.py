"""What a raw object says: the document, and the part of it that we applied. Pure.

The part is read from `metadata.managedFields`, so that "would an apply change anything" needs no memory of ours and no
annotation. Its keys (https://kubernetes.io/docs/reference/using-api/server-side-apply): `f:name` a map key, `k:{…}` the
list item with these keys, `v:…` a value of a set, `i:3` a position, `.` the node itself. A leaf owns all beneath it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from dynamo_operator.kube.objects import Document, Kind, Live, Ref

FIELD_MANAGER = "dynamo-operator"
UPSTREAMS_MANAGER = "manager"  # its program's name, under which an API server records plain writes

FieldSet = Mapping[str, Any]


def live_of(raw: Mapping[str, Any], kind: Kind) -> Live:
    """`raw` is not changed; what it shares with the result must not be changed either."""
    metadata = raw["metadata"]
    fields = owned_fields(metadata.get("managedFields") or ())
    document: Document = {**raw, "apiVersion": kind.api_version, "kind": kind.name}
    document["metadata"] = {key: value for key, value in metadata.items() if key != "managedFields"}
    return Live(
        ref=Ref(kind, metadata.get("namespace", ""), metadata["name"]),
        uid=metadata["uid"],
        generation=int(metadata.get("generation", 0)),
        resource_version=metadata["resourceVersion"],
        document=document,
        applied=_Applied(document, fields) if fields else {},
    )


class _Applied(Mapping[str, Any]):
    """The part of a document that a field set names, cut out when it is first asked for: most objects are not."""

    __slots__ = ("_document", "_fields", "_part")

    def __init__(self, document: Document, fields: FieldSet) -> None:
        self._document = document
        self._fields = fields
        self._part: Mapping[str, Any] | None = None

    def __getitem__(self, key: str) -> Any:
        return self._cut()[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._cut())

    def __len__(self) -> int:
        return len(self._cut())

    def __repr__(self) -> str:
        return repr(self._cut())

    def _cut(self) -> Mapping[str, Any]:
        if self._part is None:
            self._part = project(self._document, self._fields)
        return self._part


def owned_fields(managed: Any, manager: str = FIELD_MANAGER) -> FieldSet:
    """The field set of our applies to the object itself; those to its status or scale are other entries."""
    for entry in managed:
        if _is_ours(entry, manager):
            fields: FieldSet = entry.get("fieldsV1") or {}
            return fields
    return {}


def without_foreign_fields(raw: Mapping[str, Any], manager: str = FIELD_MANAGER) -> Document:
    """A copy that keeps of `managedFields` only our own entry: the rest is up to half of an object's size."""
    metadata = raw["metadata"]
    ours = [entry for entry in metadata.get("managedFields") or () if _is_ours(entry, manager)]
    return {**raw, "metadata": {**metadata, "managedFields": ours}}


def adopted_fields(managed: Any, api_version: str, manager: str = FIELD_MANAGER) -> list[dict[str, Any]] | None:
    """`managedFields` in which what upstream's operator updated is what `manager` applied; None where it is nothing.

    Without it, what the other wrote last would stay for ever: an apply takes away only what its manager applied before.
    """
    theirs = [entry for entry in managed if _is_upstreams(entry, api_version)]
    if len(theirs) != 1 or any(_is_ours(entry, manager) for entry in managed):
        return None
    return [{**entry, "manager": manager, "operation": "Apply"} if entry in theirs else entry for entry in managed]


def project(value: Any, fields: FieldSet) -> Any:
    """The part of `value` that a field set names; what the set names and the value lacks is left out."""
    if not fields:
        return value
    if isinstance(value, Mapping):
        return _project_map(value, fields)
    if isinstance(value, list):
        return _project_list(value, fields)
    return value


def _is_ours(entry: Mapping[str, Any], manager: str) -> bool:
    return entry.get("manager") == manager and entry.get("operation") == "Apply" and not entry.get("subresource")


def _is_upstreams(entry: Mapping[str, Any], api_version: str) -> bool:
    is_update = entry.get("operation") == "Update" and not entry.get("subresource")
    return is_update and (entry.get("manager"), entry.get("apiVersion")) == (UPSTREAMS_MANAGER, api_version)


def _project_map(value: Mapping[str, Any], fields: FieldSet) -> dict[str, Any]:
    named = ((key[2:], beneath) for key, beneath in fields.items() if key.startswith("f:"))
    return {name: project(value[name], beneath) for name, beneath in named if name in value}


def _project_list(items: list[Any], fields: FieldSet) -> list[Any]:
    """Owned items in the live order."""
    values = [msgspec.json.decode(key[2:]) for key in fields if key.startswith("v:")]
    keyed = [(msgspec.json.decode(key[2:]), beneath) for key, beneath in fields.items() if key.startswith("k:")]
    positions = {int(key[2:]): beneath for key, beneath in fields.items() if key.startswith("i:")}
    found: list[Any] = []
    for position, item in enumerate(items):
        if position in positions:
            found.append(project(item, positions[position]))
        elif item in values:
            found.append(item)
        elif isinstance(item, Mapping):
            found += [project(item, beneath) for keys, beneath in keyed if keys.items() <= item.items()][:1]
    return found
