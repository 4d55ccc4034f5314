"""Kubernetes quantities: "500m", "8Gi", "1e3", 2. Pure; called by validation and
rendering.

The grammar is that of resource.Quantity: a decimal number with a binary (Ki..Ei), decimal (n u m k M..E) or
exponent suffix.
"""

from __future__ import annotations

import re
from fractions import Fraction

ALLOWED = 'a quantity like "500m", "2" or "8Gi"'

_SUFFIXES = {
    "n": Fraction(1, 10**9),
    "u": Fraction(1, 10**6),
    "m": Fraction(1, 1000),
    "": Fraction(1),
    "k": Fraction(10**3),
    **{letter: Fraction(1000 ** (power + 2)) for power, letter in enumerate("MGTPE")},
    **{f"{letter}i": Fraction(1024 ** (power + 1)) for power, letter in enumerate("KMGTPE")},
}
_QUANTITY = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+))(?:[eE]([+-]?\d{1,3})|([numkMGTPE]|[KMGTPE]i))?", re.ASCII)


def parse_quantity(value: object) -> Fraction | None:
    """The amount, or None if `value` is not a quantity."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    match = _QUANTITY.fullmatch(str(value))
    if match is None:
        return None
    number, exponent, suffix = match.groups()
    scale = Fraction(10) ** int(exponent) if exponent else _SUFFIXES[suffix or ""]
    return Fraction(number) * scale


def whole_number(value: object) -> int | None:
    """The amount where it is a whole number, however it is written ("8", "8.0", "8000m"); None for any other value."""
    amount = parse_quantity(value)
    return amount.numerator if amount is not None and amount.denominator == 1 else None
