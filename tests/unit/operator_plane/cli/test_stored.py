from __future__ import annotations

from typing import Any

import pytest

from dynamo_operator.cli.stored import with_defaults

SCHEMA = {
    "properties": {
        "mode": {"default": "x"},
        "inner": {"properties": {"count": {"default": 2}}},
        "items": {"items": {"properties": {"count": {"default": 3}}}},
        "named": {"additionalProperties": {"properties": {"count": {"default": 4}}}},
    }
}


@pytest.mark.parametrize(
    ("value", "filled"),
    [
        pytest.param({}, {"mode": "x"}, id="absent"),
        pytest.param({"mode": "y"}, {"mode": "y"}, id="given"),
        pytest.param({"inner": {}}, {"mode": "x", "inner": {"count": 2}}, id="inside-what-is-there"),
        pytest.param({"items": [{}]}, {"mode": "x", "items": [{"count": 3}]}, id="items"),
        pytest.param({"named": {"a": {}}}, {"mode": "x", "named": {"a": {"count": 4}}}, id="map-values"),
        pytest.param({"own": [1]}, {"mode": "x", "own": [1]}, id="free-form-is-left"),
    ],
)
def test_defaults_fill_only_what_is_absent(value: Any, filled: Any) -> None:
    assert with_defaults(value, SCHEMA) == filled
