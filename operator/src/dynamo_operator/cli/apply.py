"""What `kubectl apply` makes of a live object and a manifest, so that a plan judges what would really be stored. Pure.

Custom resources are merged as JSON: maps key by key, lists as a whole, and keys that the last apply set and the
manifest no longer has are removed. What others set beside that stays.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
_OF_THE_SERVER = ("uid", "resourceVersion", "generation", "creationTimestamp", "managedFields", "ownerReferences")

Document = dict[str, Any]


def applied_over(
    live: Mapping[str, Any], manifest: Mapping[str, Any], last: Mapping[str, Any] | None = None
) -> Document:
    """The object after the apply; `last` is the manifest of the apply before, None where there was none."""
    # kubectl writes its note into the annotations, so they are never taken for removed as a whole.
    metadata = {"annotations": {}, **(manifest.get("metadata") or {})}
    merged: Document = _merged(live, {**manifest, "metadata": metadata}, last or {})
    merged["metadata"]["name"] = live["metadata"]["name"]
    return merged


def last_applied(live: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """What kubectl noted of its last apply; only comparable with a manifest of the same version."""
    text = (live["metadata"].get("annotations") or {}).get(LAST_APPLIED)
    try:
        noted = json.loads(text) if text else None
    except ValueError:
        return None
    return noted if isinstance(noted, Mapping) else None


def tidied(document: Mapping[str, Any]) -> Document:
    """Without what only the API server writes, nor kubectl's note."""
    metadata = {key: value for key, value in (document.get("metadata") or {}).items() if key not in _OF_THE_SERVER}
    if annotations := metadata.get("annotations"):
        metadata["annotations"] = {key: text for key, text in annotations.items() if key != LAST_APPLIED}
    return {**document, "metadata": metadata}


def _merged(live: Mapping[str, Any], wanted: Mapping[str, Any], last: Mapping[str, Any]) -> Document:
    kept = {key: value for key, value in live.items() if key in wanted or key not in last}
    for key, value in wanted.items():
        have, before = live.get(key), last.get(key)
        if isinstance(value, Mapping) and isinstance(have, Mapping):
            kept[key] = _merged(have, value, before if isinstance(before, Mapping) else {})
        elif value is None:
            kept.pop(key, None)
        else:
            kept[key] = value
    return kept
