"""The fields of a pod template and of what it holds, and the walk that checks a value against them.

The table (`core_types.json`) is derived from the official client by `operator/tools/derive_core_types.py`. Pure apart
from reading that file once. Called by `structure` where a schema leaves a core type opaque.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Any

from dynamo_operator.api import quantity
from dynamo_operator.validate.core_rules import check_core_rules
from dynamo_operator.validate.field import Field
from dynamo_operator.validate.violation import Violation, listed, nearest, shown

SHORT_LIST = 12
MAY_BE_EMPTY = frozenset({"value"})  # of an HTTP header, say
QUOTE_IT = "quote it to make it a string"


@dataclass(frozen=True, slots=True)
class CoreType:
    """An object type: field name -> type (`str`, `[Container]`, `{quantity}`, `Probe` …), and the required names."""

    fields: Mapping[str, str]
    required: tuple[str, ...]


@cache
def load_core_types() -> Mapping[str, CoreType]:
    text = files("dynamo_operator.validate").joinpath("core_types.json").read_text(encoding="utf-8")
    types: dict[str, Any] = json.loads(text)["types"]
    return MappingProxyType({name: CoreType(t["fields"], tuple(t["required"])) for name, t in types.items()})


def check_core(
    value: object, type_name: str, path: str, *, extra_fields: frozenset[str] = frozenset()
) -> Iterator[Violation]:
    """Violations of a core type's shape. `extra_fields` of the outermost object are known, and checked elsewhere."""
    if value is None or type_name == "any":
        return
    if type_name.startswith("["):
        yield from _check_list(value, type_name[1:-1], path)
    elif type_name.startswith("{"):
        yield from _check_map(value, type_name[1:-1], path)
    elif core := load_core_types().get(type_name):
        yield from _check_object(value, core, path, extra_fields)
        if isinstance(value, Mapping):
            yield from check_core_rules(type_name, Field(path, value))
    elif wrong := _wrong_scalar(value, type_name):
        yield Violation(path, shown(value), *wrong)


def _check_list(value: object, item_type: str, path: str) -> Iterator[Violation]:
    if not isinstance(value, list | tuple):
        yield Violation(path, shown(value), "a list", "wrong type")
        return
    for index, item in enumerate(value):
        if item is None:
            yield Violation(f"{path}[{index}]", "nothing", "an item", "an empty list item")
        yield from check_core(item, item_type, f"{path}[{index}]")


def _check_map(value: object, value_type: str, path: str) -> Iterator[Violation]:
    if not isinstance(value, Mapping):
        yield Violation(path, shown(value), "an object", "wrong type")
        return
    for key, item in value.items():
        if not isinstance(key, str):
            yield Violation(f"{path}[{key}]", f"key {shown(key)}", f"a string key; {QUOTE_IT}", "wrong type")
        if item is None and value_type == "quantity":  # an API server takes it for 0
            yield Violation(f"{path}[{key}]", "nothing", quantity.ALLOWED, "an empty amount")
        yield from check_core(item, value_type, f"{path}[{key}]")


def _check_object(value: object, core: CoreType, path: str, extra_fields: frozenset[str]) -> Iterator[Violation]:
    if not isinstance(value, Mapping):
        yield Violation(path, shown(value), "an object", "wrong type")
        return
    for key, item in value.items():
        if key in core.fields:
            yield from check_core(item, core.fields[key], f"{path}.{key}")
        elif key not in extra_fields:
            yield unknown_field(path, key, [*core.fields, *extra_fields])
    for name in core.required:
        found = value.get(name)
        if found is None or (found == "" and name not in MAY_BE_EMPTY):
            yield Violation(f"{path}.{name}", shown(found), _wanted(core.fields[name]), "is required")


def _wanted(type_name: str) -> str:
    words = {"str": "text", "int": "an integer", "bool": "true or false", "int-or-str": "a number or a name"}
    return words.get(type_name) or ("a list" if type_name.startswith("[") else "an object")


def unknown_field(path: str, key: object, known: list[str]) -> Violation:
    """A field that the schema lacks; a long list of known names is given only if no name is near."""
    meant = nearest(str(key), known)
    allowed = "" if meant and len(known) > SHORT_LIST else listed(sorted(known)) or "no fields"
    where = f"{path}.{key}" if path else str(key)
    return Violation(where, f'"{key}"', allowed, "unknown field", meant)


def _wrong_scalar(value: object, type_name: str) -> tuple[str, str] | None:
    """(allowed, message) if `value` is not of that scalar type. YAML's unquoted dates count as text, as in kubectl."""
    is_integer = isinstance(value, int) and not isinstance(value, bool)
    match type_name:
        case "str" if not isinstance(value, str | date):
            return f"a string; {QUOTE_IT}" if isinstance(value, bool | int | float) else "a string", "wrong type"
        case "int" if not is_integer:
            return "an integer", "wrong type"
        case "bool" if not isinstance(value, bool):
            return "true or false", "wrong type"
        case "float" if not (is_integer or isinstance(value, float)):
            return "a number", "wrong type"
        case "int-or-str" if not (is_integer or isinstance(value, str)):
            return "an integer or a string", "wrong type"
        case "quantity" if quantity.parse_quantity(value) is None:
            return quantity.ALLOWED, "not a quantity"
    return None
