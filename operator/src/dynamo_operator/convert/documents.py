"""The JSON-like documents that conversion works on, their errors, and when two of them mean the same.

Duty: typed access with errors that name the field, and `same`, the one definition of "unchanged in meaning".
Ban: knows no resource kind. Callers: every other module of this package.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeAlias

Document: TypeAlias = dict[str, Any]

V1ALPHA1 = "nvidia.com/v1alpha1"
V1BETA1 = "nvidia.com/v1beta1"

# Maps whose keys belong to the user: an empty value says something there.
_USER_KEYED = frozenset({"annotations", "labels", "matchLabels", "nodeSelector", "parameters"})
_QUANTITIES = frozenset({"limits", "requests", "custom"})


class ConversionError(ValueError):
    """The object cannot be converted; the message names the field, what was found and what is allowed."""


def mapping(value: object, path: str) -> Document:
    """`value` as a document; absent (None) is empty. Raises ConversionError that names `path`."""
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise ConversionError(f"{path}: found {type(value).__name__} {value!r:.60}, expected an object")
    return dict(value)


def readable(value: object) -> Document:
    """`value` as a document; anything else is empty. For what annotations hold: a mistake there is nobody's field."""
    return dict(value) if isinstance(value, Mapping) else {}


def entries(value: object, path: str) -> list[Document]:
    """`value` as a list of documents; absent (None) is empty. Raises ConversionError that names `path`."""
    if value is None:
        return []
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise ConversionError(f"{path}: found {type(value).__name__} {value!r:.60}, expected a list")
    return [mapping(entry, f"{path}[{place}]") for place, entry in enumerate(value)]


def text(value: object, path: str) -> str | None:
    """`value` as a string; None if absent. Raises ConversionError that names `path`."""
    if value is None or isinstance(value, str):
        return value
    raise ConversionError(f"{path}: found {type(value).__name__} {value!r:.60}, expected a string")


@contextmanager
def located(path: str) -> Iterator[None]:
    """Prefixes the field that a ConversionError names with `path`."""
    try:
        yield
    except ConversionError as error:
        raise ConversionError(f"{path}.{error}") from error


def pick(source: Mapping[str, Any], keys: Sequence[str]) -> Document:
    """The entries of `source` under `keys`, in the order of `keys`, without absent ones."""
    return {key: source[key] for key in keys if source.get(key) is not None}


def same(left: object, right: object) -> bool:
    """Whether two values mean the same to Kubernetes; see `canonical` for what does not count."""
    return bool(canonical(left) == canonical(right))


def canonical(value: object, key: str = "") -> object:
    """`value` in the one spelling that Go's API types would give it.

    null is absence; a quantity is a string (4 is "4"); and these zero values are absence as well: a container's
    empty `name` and `resources`, empty `metadata`, a `size` of 0, an environment variable's empty `value`.
    """
    if isinstance(value, Mapping):
        if key in _USER_KEYED:
            return dict(value)
        settled = {inner: canonical(element, inner) for inner, element in value.items() if element is not None}
        if key in _QUANTITIES:
            return {inner: _text(element) for inner, element in settled.items()}
        return {inner: element for inner, element in settled.items() if not _is_zero(inner, element)}
    if isinstance(value, list | tuple):
        return [canonical(element) for element in value]
    return _text(value) if key in ("size", "sharedMemorySize") else value


def _text(value: object) -> object:
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


def _is_zero(key: str, value: object) -> bool:
    if key in ("name", "value"):
        return value == ""
    if key in ("resources", "metadata"):
        return value == {}
    return key == "size" and value == "0"
