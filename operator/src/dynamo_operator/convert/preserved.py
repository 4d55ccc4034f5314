"""What the other version cannot say, carried in one annotation for the spec and one for the status.

Duty: read and write `nvidia.com/{dgd,dcd}-{spec,status}` in the format that existing clusters hold:
`{"version": 1, "spec": <sparse spec of the other version>, "rawJSON": [{"path": "serviceName", "nil": true}]}`.
`exact` is an addition that other readers skip: whole entries whose shape the sparse form cannot restore.
Ban: decides nothing about fields. Callers: the other modules of this package; `api` and `validate`
read preserved claims and ingresses through `preserved_spec`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from dynamo_operator.convert.documents import Document, readable

GRAPH_PREFIX = "nvidia.com/dgd-"
COMPONENT_PREFIX = "nvidia.com/dcd-"


@dataclass(frozen=True, slots=True)
class Preserved:
    """One spec payload: sparse fields, names of fields that were unset, and entries to give back verbatim."""

    spec: Document = field(default_factory=dict)
    unset: frozenset[str] = frozenset()
    exact: Document = field(default_factory=dict)

    @property
    def is_empty(self) -> bool:
        return not (self.spec or self.unset or self.exact)


@dataclass(frozen=True, slots=True)
class Kept:
    """Of one component: `sparse` fields, and the whole as it was if they are not enough to give it back."""

    sparse: Document
    exact: Document | None


def kept_of(sparse: object, exact: object) -> Kept:
    """One component's part of a payload, whoever wrote it."""
    return Kept(sparse=readable(sparse), exact=dict(exact) if isinstance(exact, Mapping) else None)


def preserved_spec(obj: Mapping[str, Any], prefix: str = GRAPH_PREFIX) -> Document:
    """The sparse spec that `obj` carries for the other version; empty if none or unreadable."""
    return read_spec(readable(readable(obj.get("metadata")).get("annotations")), prefix).spec


def read_spec(annotations: Mapping[str, Any], prefix: str) -> Preserved:
    """The spec payload. An unreadable one counts as absent: an object must stay readable whatever was typed there."""
    payload = _decode(annotations.get(prefix + "spec"))
    if "spec" not in payload:  # before the envelope had a version, the annotation was the sparse spec itself
        return Preserved(spec=payload)
    records = payload.get("rawJSON")
    unset = [record for record in records if isinstance(record, dict)] if isinstance(records, list) else []
    return Preserved(
        spec=readable(payload["spec"]),
        unset=frozenset(str(record.get("path")) for record in unset if record.get("nil") is True),
        exact=readable(payload.get("exact")),
    )


def read_status(annotations: Mapping[str, Any], prefix: str) -> Document:
    """The sparse status of the other version; empty if none or unreadable."""
    return _decode(annotations.get(prefix + "status"))


def scrubbed(metadata: Mapping[str, Any], prefix: str) -> Document:
    """`metadata` without the payload annotations, and without an annotations map that held nothing else."""
    annotations = metadata.get("annotations")
    kept = {key: value for key, value in (annotations or {}).items() if key not in (prefix + "spec", prefix + "status")}
    rest = {key: value for key, value in metadata.items() if key != "annotations"}
    return {**rest, "annotations": kept} if kept or annotations == {} else rest


def annotated(metadata: Mapping[str, Any], prefix: str, spec: Preserved, status: Mapping[str, Any]) -> Document:
    """`metadata` with payload annotations for what is not empty."""
    added: Document = {}
    if not spec.is_empty:
        envelope: Document = {"version": 1, "spec": spec.spec}
        if spec.unset:
            envelope["rawJSON"] = [{"path": path, "nil": True} for path in sorted(spec.unset)]
        if spec.exact:
            envelope["exact"] = spec.exact
        added[prefix + "spec"] = _encode(envelope)
    if status:
        added[prefix + "status"] = _encode(status)
    if not added:
        return dict(metadata)
    return {**metadata, "annotations": {**(metadata.get("annotations") or {}), **added}}


def _encode(value: object) -> str:
    # Sorted keys: the same object must give the same annotation, or every apply would look like a change.
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _decode(text: object) -> Document:
    if not isinstance(text, str) or not text:
        return {}
    try:
        return readable(json.loads(text))
    except (ValueError, RecursionError):
        return {}
