"""How long one scheduler step takes: pure functions of what the step computes.

The built-in polynomial is the reference mocker's (reference: `prefill_ms(1000) = 32.1`, `decode_ms(p=0) = 5.74`,
`decode_ms(p=1) = 34.0`); a measured profile replaces it. The scheduler calls this.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
MIN_DECODE_MS = 1.0


@dataclass(frozen=True, slots=True)
class StepLoad:
    """What one step computes."""

    prefill_tokens: int
    """Prompt tokens computed in this step (cached ones cost nothing)."""
    decoding: int
    """Requests that decode one token each."""
    context_tokens: int
    """Tokens in the KV cache of the decoding requests, summed."""
    capacity_tokens: int
    """Tokens the rank's whole KV cache can hold."""


class StepTimes(Protocol):
    """Milliseconds at speed 1, for a load with prefill tokens or decoding requests respectively."""

    def prefill_ms(self, load: StepLoad) -> float: ...
    def decode_ms(self, load: StepLoad) -> float: ...


@dataclass(frozen=True, slots=True)
class Polynomial:
    """The reference mocker's built-in model of a GPU."""

    def prefill_ms(self, load: StepLoad) -> float:
        tokens = load.prefill_tokens
        return 4.209989e-07 * tokens * tokens + 1.518344e-02 * tokens + 16.50142

    def decode_ms(self, load: StepLoad) -> float:
        fill = min(1.0, load.context_tokens / load.capacity_tokens)
        return max(MIN_DECODE_MS, -25.74 * fill * fill + 54.01 * fill + 5.74)


@dataclass(frozen=True, slots=True)
class Profile:
    """A measured engine: TTFT over prompt length, inter-token latency over (KV tokens in use, context length).

    Interpolates linearly, and holds the edge value outside the measured range.
    """

    isl: Floats
    """Shape (p,), prompt tokens, ascending."""
    ttft_ms: Floats
    """Shape (p,)."""
    kv_tokens: Floats
    """Shape (k,), KV tokens in use, ascending."""
    context: Floats
    """Shape (c,), tokens per request, ascending."""
    itl_ms: Floats
    """Shape (k, c)."""

    def prefill_ms(self, load: StepLoad) -> float:
        return float(np.interp(load.prefill_tokens, self.isl, self.ttft_ms))

    def decode_ms(self, load: StepLoad) -> float:
        row, row_share = _cell(self.kv_tokens, load.context_tokens)
        column, column_share = _cell(self.context, load.context_tokens / max(1, load.decoding))
        below, above = self.itl_ms[row], self.itl_ms[min(row + 1, len(self.kv_tokens) - 1)]
        right = min(column + 1, len(self.context) - 1)
        low = below[column] * (1 - column_share) + below[right] * column_share
        high = above[column] * (1 - column_share) + above[right] * column_share
        return max(MIN_DECODE_MS, float(low * (1 - row_share) + high * row_share))


@dataclass(frozen=True, slots=True)
class Speed:
    """Scales a model of time; `ratio` 0 means no time passes at all."""

    times: StepTimes
    ratio: float = 1.0
    decode_ratio: float = 1.0
    """Multiplies the speed of decoding only."""

    def step_s(self, load: StepLoad) -> float:
        if self.ratio == 0:
            return 0.0
        prefill_ms = self.times.prefill_ms(load) if load.prefill_tokens else 0.0
        decode_ms = self.times.decode_ms(load) / self.decode_ratio if load.decoding else 0.0
        return (prefill_ms + decode_ms) / self.ratio / 1000


def _cell(axis: Floats, value: float) -> tuple[int, float]:
    """Index of the grid point at or below `value`, and how far it is to the next one (0..1); clamped to the axis."""
    if value <= axis[0] or len(axis) == 1:
        return 0, 0.0
    if value >= axis[-1]:
        return len(axis) - 1, 0.0
    index = int(np.searchsorted(axis, value, side="right")) - 1
    return index, float((value - axis[index]) / (axis[index + 1] - axis[index]))
