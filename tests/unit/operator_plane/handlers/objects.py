"""Objects as watches bring them."""

from __future__ import annotations

from typing import Any

from dynamo_operator.kube import Kind, Packed, pack
from dynamo_operator.kube.objects import GRAPH


def packed(
    name: str = "g",
    version: int = 1,
    *,
    kind: Kind = GRAPH,
    namespace: str = "shop",
    uid: str = "",
    generation: int = 0,
    owner: str = "",
    labels: dict[str, str] | None = None,
    **document: Any,
) -> Packed:
    metadata: dict[str, Any] = {
        "name": name,
        "namespace": namespace,
        "uid": uid or f"uid-{name}",
        "resourceVersion": str(version),
        "labels": labels or {},
        "generation": generation,
    }
    if owner:
        metadata["ownerReferences"] = [{"uid": owner, "controller": True, "kind": "X", "name": "x", "apiVersion": "v1"}]
    return pack({"metadata": metadata, **document}, kind)
