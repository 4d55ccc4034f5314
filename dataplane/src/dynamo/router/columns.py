"""Numbers by slot, as numpy columns: what a decision reads for a thousand workers at once.

A column belongs to the class that counts in it; others read it through `of`. Slots nobody wrote read as 0.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
_FIRST_LENGTH = 16


class Column:
    """One integer per slot."""

    def __init__(self) -> None:
        self._values: Ints = np.zeros(_FIRST_LENGTH, dtype=np.int64)

    def __getitem__(self, slot: int) -> int:
        return int(self._values[slot]) if slot < len(self._values) else 0

    def __setitem__(self, slot: int, value: int) -> None:
        if slot >= len(self._values):
            self._grow(slot)
        self._values[slot] = value

    def of(self, slots: Ints) -> Ints:
        """A copy of the values, in the order of `slots`."""
        try:
            return self._values[slots]
        except IndexError:
            self._grow(int(slots.max()))
            return self._values[slots]

    def _grow(self, slot: int) -> None:
        longer = np.zeros(max(slot + 1, 2 * len(self._values)), dtype=np.int64)
        longer[: len(self._values)] = self._values
        self._values = longer
