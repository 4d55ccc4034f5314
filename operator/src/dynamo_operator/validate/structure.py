"""Checks a manifest's shape against the schemas in `crds/`: types, required and unknown fields, enums, forms, bounds.

Pure. Called by `validate`. Rules between fields are in the modules beside this one; the schemas' CEL rules are not
run here, each has its counterpart there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import date
from typing import Any

from dynamo_operator.api import quantity
from dynamo_operator.validate.core_types import QUOTE_IT, check_core, unknown_field
from dynamo_operator.validate.field import join
from dynamo_operator.validate.violation import Violation, counted, listed, nearest, shown

Schema = Mapping[str, Any]

# Fields that the schemas leave opaque and that hold core Kubernetes types.
CORE_FIELDS = {
    "podTemplate": "PodTemplateSpec",
    "extraPodSpec": "PodSpec",
    "mainContainer": "Container",
    "env": "[EnvVar]",
    "envs": "[EnvVar]",
    "livenessProbe": "Probe",
    "readinessProbe": "Probe",
}
_INTEGER_BITS = {"int32": 31, "int64": 63}


def check_structure(value: object, schema: Schema, path: str = "", name: str = "") -> Iterator[Violation]:
    """Violations of `schema`; `name` is the field's name, which tells core types. A null is an absent value."""
    if value is None:
        return
    if core := CORE_FIELDS.get(name):
        yield from check_core(value, core, path, extra_fields=frozenset(schema.get("properties", ())))
        if isinstance(value, Mapping):
            for key, inner in schema.get("properties", {}).items():
                yield from check_structure(value.get(key), inner, join(path, key), key)
        return
    if schema.get("x-kubernetes-int-or-string"):
        if quantity.parse_quantity(value) is None:
            yield Violation(path, shown(value), quantity.ALLOWED, "not a quantity")
        return
    match schema.get("type"):
        case "object":
            yield from _check_object(value, schema, path)
        case "array":
            yield from _check_array(value, schema, path)
        case _:
            yield from _check_scalar(value, schema, path)


def _check_object(value: object, schema: Schema, path: str) -> Iterator[Violation]:
    if not isinstance(value, Mapping):
        yield Violation(path, shown(value), "an object", "wrong type")
        return
    if "additionalProperties" in schema:
        yield from _check_entries(value, schema, path)
        return
    known: Schema = schema.get("properties", {})
    for key, item in value.items():
        if key in known:
            yield from check_structure(item, known[key], join(path, key), key)
        elif not schema.get("x-kubernetes-preserve-unknown-fields"):
            yield unknown_field(path, key, list(known))
    for key in schema.get("required", ()):
        if value.get(key) is None:
            yield Violation(join(path, key), "nothing", _expected(known[key]), "is required")


def _check_entries(value: Mapping[object, object], schema: Schema, path: str) -> Iterator[Violation]:
    if len(value) > schema.get("maxProperties", len(value)):
        yield Violation(path, f"{len(value)} entries", f"at most {schema['maxProperties']}", "too many")
    for key, item in value.items():
        if not isinstance(key, str):
            yield Violation(f"{path}[{key}]", f"key {shown(key)}", f"a string key; {QUOTE_IT}", "wrong type")
        yield from check_structure(item, schema["additionalProperties"], f"{path}[{key}]")


def _check_array(value: object, schema: Schema, path: str) -> Iterator[Violation]:
    if not isinstance(value, list | tuple):
        yield Violation(path, shown(value), "a list", "wrong type")
        return
    if len(value) > schema.get("maxItems", len(value)):
        yield Violation(path, counted(value, "item"), f"at most {schema['maxItems']}", "too many")
    for index, item in enumerate(value):
        if item is None:
            yield Violation(f"{path}[{index}]", "nothing", _expected(schema["items"]), "an empty list item")
        yield from check_structure(item, schema["items"], f"{path}[{index}]")
    if schema.get("x-kubernetes-list-type") == "set":
        yield from (
            Violation(f"{path}[{index}]", shown(item), "each value once", "duplicate")
            for index, item in enumerate(value)
            if item in value[:index]
        )


def _check_scalar(value: object, schema: Schema, path: str) -> Iterator[Violation]:
    if not _has_type(value, schema["type"]):
        hint = f"; {QUOTE_IT}" if schema["type"] == "string" and isinstance(value, int | float) else ""
        yield Violation(path, shown(value), _expected(schema) + hint, "wrong type")
    elif isinstance(value, str):
        yield from _check_text(value, schema, path)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield from _check_number(value, schema, path)


def _check_text(value: str, schema: Schema, path: str) -> Iterator[Violation]:
    if "enum" in schema and value not in schema["enum"]:
        yield Violation(path, shown(value), listed(schema["enum"]), "unsupported value", nearest(value, schema["enum"]))
    elif len(value) < schema.get("minLength", 0):
        yield Violation(path, shown(value), f"at least {schema['minLength']} characters", "too short")
    elif len(value) > schema.get("maxLength", len(value)):
        yield Violation(path, f"{len(value)} characters", f"at most {schema['maxLength']}", "too long")
    elif "pattern" in schema and not _matches(schema["pattern"], value):
        yield Violation(path, shown(value), f"text that matches {schema['pattern']}", "wrong form")


def _matches(pattern: str, text: str) -> bool:
    # Where the server's `$` is the end, Python's would let a line break follow.
    ending = pattern[:-1] + r"\Z" if pattern.endswith("$") else pattern
    return re.search(ending, text, re.ASCII) is not None


def _check_number(value: float, schema: Schema, path: str) -> Iterator[Violation]:
    bits = _INTEGER_BITS.get(schema.get("format", ""), 63)
    if value < schema.get("minimum", value):
        yield Violation(path, shown(value), f"at least {schema['minimum']}", "too small")
    elif value > schema.get("maximum", value):
        yield Violation(path, shown(value), f"at most {schema['maximum']}", "too large")
    elif isinstance(value, int) and not -(2**bits) <= value < 2**bits:
        yield Violation(path, shown(value), f"an integer of {bits + 1} bits", "too large")


def _has_type(value: object, type_name: str) -> bool:
    if isinstance(value, bool):
        return type_name == "boolean"
    match type_name:
        case "string":
            return isinstance(value, str | date)  # an unquoted YAML date is text, as in kubectl
        case "integer":
            return isinstance(value, int)
        case "number":
            return isinstance(value, int | float)
    return False


def _expected(schema: Schema) -> str:
    if "enum" in schema:
        return listed(schema["enum"])
    words = {"object": "an object", "array": "a list", "integer": "an integer", "boolean": "true or false"}
    return words.get(schema.get("type", ""), f"a {schema.get('type', 'value')}")
