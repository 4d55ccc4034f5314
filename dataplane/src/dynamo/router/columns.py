"""Numbers by slot, as columns: a request changes one slot's, a decision reads those of a thousand workers at once.

A column belongs to the class that counts in it; others read it through `of`. Slots nobody wrote read as 0.
"""

from __future__ import annotations

from array import array

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
_FIRST_LENGTH = 16


class Column:
    """One integer per slot. An array of Python's own, seen by numpy too: single items cost a fraction of numpy's."""

    def __init__(self) -> None:
        self._set_values(array("q", bytes(8 * _FIRST_LENGTH)))

    def __getitem__(self, slot: int) -> int:
        try:
            return self._values[slot]
        except IndexError:
            return 0

    def __setitem__(self, slot: int, value: int) -> None:
        try:
            self._values[slot] = value
        except IndexError:
            self._grow(slot)
            self._values[slot] = value

    def of(self, slots: Ints) -> Ints:
        """A copy of the values, in the order of `slots`."""
        try:
            return self._view[slots]
        except IndexError:
            self._grow(int(slots.max()))
            return self._view[slots]

    def _grow(self, slot: int) -> None:
        missing = max(slot + 1, 2 * len(self._values)) - len(self._values)
        self._set_values(self._values + array("q", bytes(8 * missing)))

    def _set_values(self, values: array[int]) -> None:
        self._values = values
        self._view: Ints = np.frombuffer(values, dtype=np.int64)
