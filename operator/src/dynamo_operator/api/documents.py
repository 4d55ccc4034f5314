"""Immutable JSON-like documents, and readers that name the field they fail on.

Kubernetes documents (pod templates above all) stay documents: only what is used gets a type. `freeze` makes one
immutable, `thaw` gives plain dicts and lists back for serialization. Pure; called by `parse` and by rendering.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from dynamo_operator.api.errors import SpecError

JsonObject = Mapping[str, Any]
SCALARS = (str, int, float, type(None))  # most values are: asked for first, they spare the slower look for mappings
EMPTY: JsonObject = MappingProxyType({})


def freeze(value: Any) -> Any:
    """A deep immutable copy: mappings become read-only, lists become tuples."""
    if isinstance(value, SCALARS):
        return value
    if isinstance(value, Mapping):
        return MappingProxyType({key: freeze(inner) for key, inner in value.items()})
    if isinstance(value, (list, tuple)):
        return tuple(freeze(inner) for inner in value)
    return value


def thaw(value: Any) -> Any:
    """A deep plain copy: dicts and lists, as serializers want them."""
    if isinstance(value, SCALARS):
        return value
    if isinstance(value, Mapping):
        return {key: thaw(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [thaw(inner) for inner in value]
    return value


def without_nulls(value: Any) -> Any:
    """`value` without the keys of its mappings whose value is null, at any depth: an API server takes them for absent.

    Items of lists stay, also null ones: their number says something.
    """
    if isinstance(value, SCALARS):
        return value
    if isinstance(value, Mapping):
        return {key: without_nulls(inner) for key, inner in value.items() if inner is not None}
    if isinstance(value, (list, tuple)):
        return [without_nulls(inner) for inner in value]
    return value


def said(document: JsonObject, *lists: str) -> dict[str, Any]:
    """A plain copy of a core object without the fields that say nothing: empty texts, and `lists` without an item."""
    return {
        key: thaw(value) for key, value in document.items() if value != "" and not (key in lists and len(value) == 0)
    }


def read_object(document: JsonObject, key: str, path: str) -> JsonObject | None:
    """The mapping at `key`, or None where the key is absent or null."""
    value = document.get(key)
    if value is not None and not isinstance(value, Mapping):
        raise SpecError(f"{path}.{key}", value, "an object")
    return value


def read_list(document: JsonObject, key: str, path: str) -> Sequence[JsonObject]:
    """The list of objects at `key`; empty where the key is absent or null."""
    value = document.get(key)
    if value is None:
        return ()
    if not isinstance(value, (list, tuple)):
        raise SpecError(f"{path}.{key}", value, "a list of objects")
    for position, item in enumerate(value):
        if not isinstance(item, Mapping):
            raise SpecError(f"{path}.{key}[{position}]", item, "an object")
    return value


def read_text(document: JsonObject, key: str, path: str) -> str | None:
    """The string at `key`, or None where the key is absent or null."""
    value = document.get(key)
    if value is not None and not isinstance(value, str):
        raise SpecError(f"{path}.{key}", value, "a string")
    return value


def require_text(document: JsonObject, key: str, path: str) -> str:
    """The non-empty string at `key`."""
    value = read_text(document, key, path)
    if not value:
        raise SpecError(f"{path}.{key}", value, "a non-empty string")
    return value


def read_count(document: JsonObject, key: str, path: str, *, default: int, least: int = 0) -> int:
    """The integer at `key`, at least `least`; `default` where the key is absent or null."""
    value = document.get(key)
    if value is None:
        return default
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise SpecError(f"{path}.{key}", value, f"an integer of {least} or more")
    return value


def read_flag(document: JsonObject, key: str, path: str) -> bool:
    """The boolean at `key`; False where the key is absent or null."""
    value = document.get(key)
    if value is not None and not isinstance(value, bool):
        raise SpecError(f"{path}.{key}", value, "true or false")
    return bool(value)


def read_labels(document: JsonObject, key: str, path: str) -> Mapping[str, str]:
    """The map of strings at `key`; empty where the key is absent or null. Null values are absent, too."""
    value = read_object(document, key, path) or EMPTY
    for name, text in value.items():
        if text is not None and not isinstance(text, str):
            raise SpecError(f"{path}.{key}[{name}]", text, "a string")
    return {name: text for name, text in value.items() if text is not None}
