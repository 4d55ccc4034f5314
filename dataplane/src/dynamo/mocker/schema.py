"""A small instance of a JSON schema, for guided answers and tool calls. Pure.

Required properties only, first of an enumeration, shortest strings and arrays that are allowed. What it cannot build
it refuses; the request routes call it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

MAX_DEPTH = 32
MAX_WORK = 50_000
"""Characters to write and keys to look at, about: a client's schema must not keep the engine's event loop busy."""
_VALUE_WORK = 16
_FORMATS = {
    "date-time": "2025-01-01T00:00:00Z",
    "date": "2025-01-01",
    "time": "00:00:00Z",
    "duration": "P1D",
    "email": "a@example.com",
    "hostname": "example.com",
    "ipv4": "127.0.0.1",
    "ipv6": "::1",
    "uri": "https://example.com/",
    "uuid": "00000000-0000-4000-8000-000000000000",
}


class SchemaUnsupported(ValueError):
    """No instance can be built; the message says which part of the schema is the reason."""


def minimal_instance(schema: Any) -> Any:
    """A value that satisfies the schema. Raises SchemaUnsupported."""
    return _instance(schema, _Source(schema), "$", 0)


@dataclass(slots=True)
class _Source:
    """The whole schema, and how much work may still go into it."""

    schema: Any
    work_left: int = MAX_WORK

    def spend(self, work: int, path: str) -> None:
        self.work_left -= work
        if self.work_left < 0:
            raise SchemaUnsupported(f"{path}: the schema needs a longer value, or more tries, than the mocker makes")


def _instance(schema: Any, source: _Source, path: str, depth: int) -> Any:
    source.spend(_VALUE_WORK, path)
    if depth > MAX_DEPTH:
        raise SchemaUnsupported(f"{path}: the schema needs values nested deeper than {MAX_DEPTH}")
    if schema is True or schema == {}:
        return {} if path == "$" else None
    if not isinstance(schema, Mapping):
        raise SchemaUnsupported(f"{path}: expected a schema object, found {schema!r}")
    if "$ref" in schema:
        return _instance(_resolve(schema["$ref"], source, path), source, path, depth + 1)
    if "const" in schema:
        return _given(schema["const"], source, path)
    if schema.get("enum"):
        return _given(schema["enum"][0], source, path)
    if "allOf" in schema:
        return _instance(_merged(schema, source, path), source, path, depth + 1)
    for choice in ("anyOf", "oneOf"):
        if schema.get(choice):
            return _first_that_works(schema, choice, source, path, depth)
    return _typed(schema, source, path, depth)


def _given(value: Any, source: _Source, path: str) -> Any:
    source.spend(len(repr(value)), path)
    return value


def _typed(schema: Mapping[str, Any], source: _Source, path: str, depth: int) -> Any:
    kind = schema.get("type", _implied_type(schema))
    if isinstance(kind, list):
        kind = next((name for name in kind if name != "null"), "null")
    match kind:
        case "object":
            return _object(schema, source, path, depth)
        case "array":
            return _array(schema, source, path, depth)
        case "string":
            return _string(schema, source, path)
        case "integer" | "number":
            return _number(schema, is_integer=kind == "integer")
        case "boolean":
            return True
        case "null":
            return None
    raise SchemaUnsupported(f"{path}.type: found {kind!r}; expected a JSON schema type")


def _implied_type(schema: Mapping[str, Any]) -> str:
    if "properties" in schema or "required" in schema:
        return "object"
    return "array" if "items" in schema or "prefixItems" in schema else "string"


def _object(schema: Mapping[str, Any], source: _Source, path: str, depth: int) -> dict[str, Any]:
    properties = schema.get("properties", {})
    rest = schema.get("additionalProperties", True)
    return {
        name: _instance(properties.get(name, rest), source, f"{path}.{name}", depth + 1)
        for name in schema.get("required", ())
    }


def _array(schema: Mapping[str, Any], source: _Source, path: str, depth: int) -> list[Any]:
    first = schema.get("prefixItems", [])
    items = schema.get("items", True)
    return [
        _instance(first[index] if index < len(first) else items, source, f"{path}[{index}]", depth + 1)
        for index in range(schema.get("minItems", 0))
    ]


def _string(schema: Mapping[str, Any], source: _Source, path: str) -> str:
    if "pattern" in schema:
        raise SchemaUnsupported(f"{path}.pattern: strings are not built from regular expressions here")
    text = _FORMATS.get(schema.get("format", ""), "word")
    least, most = schema.get("minLength", 0), schema.get("maxLength")
    source.spend(max(least, len(text)), path)
    return (text.ljust(least, "s"))[:most]


def _number(schema: Mapping[str, Any], *, is_integer: bool) -> int | float:
    step = schema.get("multipleOf", 1)
    low = schema.get("minimum", schema.get("exclusiveMinimum"))
    high = schema.get("maximum", schema.get("exclusiveMaximum"))
    if low is None and (high is None or high > 0):
        low = 0
    value: int | float = -(-low // step) * step if low is not None else high // step * step
    if value == schema.get("exclusiveMinimum"):
        value += step
    if value == schema.get("exclusiveMaximum"):
        value -= step
    if not is_integer and high is not None and value > high:
        value = (low + high) / 2
    return int(value) if is_integer else value


def _first_that_works(schema: Mapping[str, Any], choice: str, source: _Source, path: str, depth: int) -> Any:
    rest = {key: value for key, value in schema.items() if key != choice}
    reason: SchemaUnsupported | None = None
    for option in schema[choice]:
        try:
            return _instance(_merged({"allOf": [rest, option]}, source, path), source, path, depth + 1)
        except SchemaUnsupported as error:
            reason = reason or error
    assert reason is not None
    raise reason


def _merged(schema: Mapping[str, Any], source: _Source, path: str) -> dict[str, Any]:
    """`allOf` folded into one schema: properties and requirements are united, other keys override in order."""
    merged: dict[str, Any] = {}
    for part in ({key: value for key, value in schema.items() if key != "allOf"}, *schema["allOf"]):
        if isinstance(part, Mapping) and "$ref" in part:
            part = _resolve(part["$ref"], source, path)
        if not isinstance(part, Mapping):
            continue
        source.spend(len(merged) + len(part), path)
        source.spend(sum(len(either.get("properties", ())) for either in (merged, part)), path)
        properties = {**merged.get("properties", {}), **part.get("properties", {})}
        required = list(dict.fromkeys([*merged.get("required", ()), *part.get("required", ())]))
        merged |= part
        if properties:
            merged["properties"] = properties
        if required:
            merged["required"] = required
    return merged


def _resolve(reference: Any, source: _Source, path: str) -> Any:
    if not isinstance(reference, str) or not reference.startswith("#"):
        raise SchemaUnsupported(f"{path}.$ref: found {reference!r}; only references within the schema are followed")
    node = source.schema
    for part in reference.lstrip("#").strip("/").split("/"):
        name = part.replace("~1", "/").replace("~0", "~")
        if not name:
            continue
        if not isinstance(node, Mapping) or name not in node:
            raise SchemaUnsupported(f"{path}.$ref: {reference} is not in the schema")
        node = node[name]
    return node
