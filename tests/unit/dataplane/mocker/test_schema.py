"""Built instances satisfy their schema; what cannot be built is refused."""

from __future__ import annotations

import time
from typing import Any

import hypothesis.strategies as st
import jsonschema
import pytest
from hypothesis import given, settings

from dynamo.mocker.schema import SchemaUnsupported, minimal_instance

scalars = st.one_of(
    st.just({"type": "boolean"}),
    st.just({"type": "null"}),
    st.just({"type": ["null", "integer"]}),
    st.builds(
        lambda low, span: {"type": "integer", "minimum": low, "maximum": low + span}, st.integers(), st.integers(0, 9)
    ),
    st.builds(lambda high: {"type": "number", "exclusiveMaximum": high}, st.integers(-9, 9)),
    st.builds(lambda low: {"type": "integer", "exclusiveMinimum": low, "multipleOf": 3}, st.integers(-9, 9)),
    st.builds(
        lambda low, span: {"type": "string", "minLength": low, "maxLength": low + span},
        st.integers(0, 9),
        st.integers(0, 9),
    ),
    st.builds(lambda values: {"enum": values}, st.lists(st.integers() | st.text(max_size=3), min_size=1, max_size=3)),
    st.builds(lambda value: {"const": value}, st.integers()),
)


def nested(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    properties = st.dictionaries(st.sampled_from("abc"), inner, max_size=3)
    return st.one_of(
        properties.map(
            lambda p: {"type": "object", "properties": p, "required": sorted(p), "additionalProperties": False}
        ),
        st.builds(lambda items, least: {"type": "array", "items": items, "minItems": least}, inner, st.integers(0, 3)),
        st.lists(inner, min_size=1, max_size=2).map(lambda options: {"anyOf": options}),
        inner.map(
            lambda schema: {"$ref": "#/$defs/x", "$defs": {"x": schema}} if "$ref" not in str(schema) else schema
        ),
    )


@settings(max_examples=300, deadline=None)
@given(st.recursive(scalars, nested, max_leaves=6))
def test_instances_satisfy_their_schema(schema: Any) -> None:
    if "$ref" in str(schema) and "$ref" not in schema:
        return
    jsonschema.validate(minimal_instance(schema), schema)


def test_parts_of_all_of_are_united() -> None:
    schema = {
        "allOf": [
            {"properties": {"a": {"type": "integer"}}, "required": ["a"]},
            {"properties": {"b": {"const": 2}}, "required": ["b"]},
        ]
    }
    assert minimal_instance(schema) == {"a": 0, "b": 2}


@pytest.mark.parametrize("form", ["date-time", "email", "uuid", "ipv4"])
def test_formats_are_known(form: str) -> None:
    assert minimal_instance({"type": "string", "format": form}) != "word"


@pytest.mark.parametrize(
    ("schema", "named"),
    [
        ({"type": "string", "pattern": "^a+$"}, "pattern"),
        ({"type": "strange"}, "strange"),
        ({"$ref": "#/nowhere"}, "nowhere"),
        ({"$ref": "http://elsewhere"}, "elsewhere"),
        ({"$ref": "#"}, "deeper"),
        (5, "schema object"),
    ],
)
def test_what_cannot_be_built_is_named(schema: Any, named: str) -> None:
    with pytest.raises(SchemaUnsupported, match=named):
        minimal_instance(schema)


@pytest.mark.parametrize(
    "schema",
    [
        pytest.param({"anyOf": [{"$ref": "#"}, {"$ref": "#"}]}, id="tries-that-double-at-each-level"),
        pytest.param({"type": "array", "minItems": 10**9, "items": {"const": 1}}, id="many-items"),
        pytest.param({"type": "string", "minLength": 10**12}, id="long-string"),
        pytest.param({"type": "array", "minItems": 900, "items": {"const": "x" * 900}}, id="long-constants"),
        pytest.param(
            {
                "anyOf": [{"type": "string", "pattern": "x"}] * 20_000,
                "properties": {str(key): {} for key in range(20_000)},
            },
            id="wide-tries",
        ),
    ],
)
def test_schema_that_would_keep_the_engine_busy_is_refused(schema: Any) -> None:
    began_s = time.process_time()
    with pytest.raises(SchemaUnsupported):
        minimal_instance(schema)
    assert time.process_time() - began_s < 2
