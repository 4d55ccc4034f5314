"""An object as it is kept by the thousand: what is looked up stays in the open, the rest is packed JSON. Pure.

A decoded Deployment costs about ten times its JSON in memory; a reconcile pass reads a handful of objects and unpacks
those again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from dynamo_operator.kube.live import live_of, without_foreign_fields
from dynamo_operator.kube.objects import Kind, Live, Ref, controller_uid


@dataclass(frozen=True, slots=True)
class Packed:
    """`version` is the resourceVersion as the number that it is: greater means later, for one and the same kind."""

    ref: Ref
    uid: str
    version: int
    generation: int
    labels: Mapping[str, str]
    controller_uid: str | None
    body: bytes

    def unpack(self) -> Live:
        return live_of(msgspec.json.decode(self.body), self.ref.kind)


def pack(raw: Mapping[str, Any], kind: Kind) -> Packed:
    metadata = raw["metadata"]
    return Packed(
        ref=Ref(kind, metadata.get("namespace", ""), metadata["name"]),
        uid=metadata["uid"],
        version=int(metadata["resourceVersion"]),
        generation=int(metadata.get("generation", 0)),
        labels=metadata.get("labels") or {},
        controller_uid=controller_uid(raw),
        body=msgspec.json.encode(without_foreign_fields(raw)),
    )
