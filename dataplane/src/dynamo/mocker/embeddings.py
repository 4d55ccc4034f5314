"""Embeddings without a model: unit vectors that depend on the tokens only. Pure.

Texts with common words lie close to each other, since a text's vector is the mean of its tokens' vectors.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

DEFAULT_DIMENSIONS = 384
MAX_DIMENSIONS = 4096
MAX_NUMBERS = 1 << 26
"""Tokens times dimensions of one request, about 0.7 s of the engine's event loop."""
_CHUNK_TOKENS = 1024


def embed(tokens: Sequence[int], dimensions: int) -> NDArray[np.float32]:
    """Shape (dimensions,), length 1; `tokens` must not be empty."""
    columns = np.arange(dimensions, dtype=np.uint64) * np.uint64(0xD1B54A32D192ED03)
    total = np.zeros(dimensions, dtype=np.float64)
    ids = np.asarray(tokens, dtype=np.uint64)
    for start in range(0, len(ids), _CHUNK_TOKENS):
        chunk = ids[start : start + _CHUNK_TOKENS, None]
        with np.errstate(over="ignore"):
            mixed = (chunk + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15) + columns
            mixed = (mixed ^ (mixed >> np.uint64(29))) * np.uint64(0xBF58476D1CE4E5B9)
        total += ((mixed >> np.uint64(40)).astype(np.float64) / float(1 << 23) - 1.0).sum(axis=0)
    length = float(np.linalg.norm(total))
    return np.asarray(total / length if length else np.eye(1, dimensions)[0], dtype=np.float32)


def as_base64(vector: NDArray[np.float32]) -> str:
    """Little-endian float32, as the OpenAI API packs them."""
    return base64.b64encode(vector.astype("<f4").tobytes()).decode()
