"""What an API server made of objects that were applied; for tests that render and apply."""

from __future__ import annotations

from typing import Any

Document = dict[str, Any]


def as_applied(document: Document, name: str) -> Document:
    """Under a name of its own and without an owner: the graph itself is not applied, so nothing can belong to it."""
    metadata = {key: value for key, value in document["metadata"].items() if key != "ownerReferences"}
    return {**document, "metadata": {**metadata, "name": name}}


def lost(sent: Any, kept: Any, path: str) -> list[str]:
    """What was sent and came back differently; what the server added does not count."""
    if isinstance(sent, dict) and isinstance(kept, dict):
        return [line for key, value in sent.items() for line in lost(value, kept.get(key), f"{path}.{key}")]
    if isinstance(sent, list) and isinstance(kept, list) and len(sent) == len(kept):
        return [line for index, value in enumerate(sent) for line in lost(value, kept[index], f"{path}[{index}]")]
    return [] if sent == kept else [f"{path}: sent {sent!r}, kept {kept!r}"]
