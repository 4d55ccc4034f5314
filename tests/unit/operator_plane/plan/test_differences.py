from __future__ import annotations

from typing import Any

import pytest

from dynamo_operator.plan.differences import differences


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        pytest.param({"a": 1}, {"a": 1}, [], id="same"),
        pytest.param({"a": {"b": 1}}, {"a": {"b": 2}}, ["a.b: 1 -> 2"], id="nested"),
        pytest.param({}, {"a": "x"}, ['a: + "x"'], id="new"),
        pytest.param({"a": "x"}, {}, ['a: - "x"'], id="gone"),
        pytest.param({"a": [{"name": "m", "i": 1}]}, {"a": [{"name": "m", "i": 2}]}, ["a[m].i: 1 -> 2"], id="by-name"),
        pytest.param(
            {"a": [{"name": "m"}, {"name": "n"}]}, {"a": [{"name": "n"}, {"name": "m"}]}, [], id="order-of-named-items"
        ),
        pytest.param({"a": ["x", "y"]}, {"a": ["x", "z"]}, ['a[1]: "y" -> "z"'], id="by-position"),
        pytest.param({"a": ["x"]}, {"a": ["x", "z"]}, ['a: ["x"] -> ["x", "z"]'], id="another-length"),
        pytest.param({"a": {"b/c": "1"}}, {"a": {"b/c": "2"}}, ['a[b/c]: "1" -> "2"'], id="key-with-slash"),
        pytest.param(
            {"c": {"env": [{"name": "HF_TOKEN", "value": "abc"}]}},
            {"c": {"env": [{"name": "HF_TOKEN", "value": "xyz"}]}},
            ['c.env[HF_TOKEN].value: "(hidden)" -> "(hidden)"'],
            id="secret-variable",
        ),
    ],
)
def test_a_difference_is_told_by_its_path(before: Any, after: Any, told: list[str]) -> None:
    assert [str(each) for each in differences(before, after)] == told


def test_a_secret_is_hidden_in_a_whole_new_variable_too() -> None:
    found = differences({"env": []}, {"env": [{"name": "HF_TOKEN", "value": "abc"}]}, "c")

    assert "abc" not in str(found)


def test_a_long_value_is_cut() -> None:
    assert len(str(differences({"a": "x" * 500}, {"a": "y"})[0])) < 90
