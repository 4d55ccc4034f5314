"""All differences between two sets of Kubernetes objects, each with the path of the field."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

ABSENT = "(absent)"
_KEYS = ("name", "mountPath")


@dataclass(frozen=True, slots=True)
class Difference:
    """`path` is empty where a whole object is missing on one side; list items are addressed by their name."""

    kind: str
    name: str
    path: str
    theirs: Any
    ours: Any

    def __str__(self) -> str:
        return (
            f"{self.kind}/{self.name} {self.path or '(object)'}: theirs {self.theirs!r:.300}, ours {self.ours!r:.300}"
        )


def differences(theirs: Iterable[dict[str, Any]], ours: Iterable[dict[str, Any]]) -> list[Difference]:
    """Every difference, objects matched by kind and name."""
    left, right = _by_identity(theirs), _by_identity(ours)
    found: list[Difference] = []
    for kind, name in sorted({*left, *right}):
        one, other = left.get((kind, name), ABSENT), right.get((kind, name), ABSENT)
        found += (Difference(kind, name, path, a, b) for path, a, b in _compare("", one, other))
    return found


def _by_identity(documents: Iterable[dict[str, Any]]) -> dict[tuple[str, str], dict[str, Any]]:
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for document in documents:
        identity = document["kind"], document["metadata"]["name"]
        assert identity not in found, f"rendered twice: {identity}"
        found[identity] = document
    return found


def _compare(path: str, theirs: Any, ours: Any) -> Iterator[tuple[str, Any, Any]]:
    if isinstance(theirs, dict) and isinstance(ours, dict):
        for key in sorted({*theirs, *ours}):
            yield from _compare(f"{path}/{key}", theirs.get(key, ABSENT), ours.get(key, ABSENT))
    elif isinstance(theirs, list) and isinstance(ours, list):
        yield from _compare_lists(path, theirs, ours)
    elif theirs != ours:
        yield path, theirs, ours


def _compare_lists(path: str, theirs: list[Any], ours: list[Any]) -> Iterator[tuple[str, Any, Any]]:
    key = next((each for each in _KEYS if _is_keyed(each, theirs) and _is_keyed(each, ours)), None)
    if key is None:
        if theirs != ours:
            yield path, theirs, ours
        return
    left, right = ({item[key]: item for item in side} for side in (theirs, ours))
    for name in sorted({*left, *right}):
        yield from _compare(f"{path}[{name}]", left.get(name, ABSENT), right.get(name, ABSENT))
    order = [name for name in left if name in right], [name for name in right if name in left]
    if order[0] != order[1]:
        yield f"{path}[order]", *order


def _is_keyed(key: str, items: Sequence[Any]) -> bool:
    names = [item.get(key) if isinstance(item, dict) else None for item in items]
    return bool(names) and None not in names and len(set(names)) == len(names)
