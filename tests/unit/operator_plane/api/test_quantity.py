from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynamo_operator.api.quantity import parse_quantity, whole_number


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("0", 0),
        ("8Gi", 8 * 2**30),
        ("500m", Fraction(1, 2)),
        ("1.5k", 1500),
        (".5", Fraction(1, 2)),
        ("5.", 5),
        ("1e3", 1000),
        ("1E3", 1000),
        ("1E", 10**18),
        ("1Ei", 2**60),
        ("-2", -2),
        ("+2M", 2_000_000),
        ("100n", Fraction(1, 10**7)),
        (4, 4),
        (0.5, Fraction(1, 2)),
    ],
)
def test_quantities_have_kubernetes_amounts(text: object, amount: Fraction) -> None:
    assert parse_quantity(text) == amount


@pytest.mark.parametrize(
    "text", ["", "one", "8 gigs", "8GB", "Gi", "1 Gi", "1K", "--1", "1e", True, None, [], {}, "１"]
)
def test_other_values_are_not_quantities(text: object) -> None:
    assert parse_quantity(text) is None


@given(st.integers(-(10**9), 10**9), st.sampled_from(["", "k", "M", "Ki", "Mi", "m"]))
def test_suffixes_scale(number: int, suffix: str) -> None:
    scale = {"": 1, "k": 1000, "M": 10**6, "Ki": 1024, "Mi": 2**20, "m": Fraction(1, 1000)}[suffix]
    assert parse_quantity(f"{number}{suffix}") == number * scale


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (8, 8),
        ("8", 8),
        ("8.0", 8),
        ("8000m", 8),
        ("1e1", 10),
        ("1k", 1000),
        ("0.5", None),
        ("100m", None),
        (None, None),
    ],
)
def test_a_whole_number_is_one_however_it_is_written(value: object, number: int | None) -> None:
    assert whole_number(value) == number
