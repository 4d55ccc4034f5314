"""Names of KV blocks: a hash per block of token ids, and the chained hash that names a block with all before it.

Router, event relay and mocker must agree bit for bit, also with upstream's tools, so the arithmetic is fixed: XXH3
64-bit over little-endian token ids, seed 1337, moved by adapter name and cache salt. Pure. A block hash says what is
in a block; a sequence hash says that and everything before it, so two prompts share a prefix exactly as far as their
sequence hashes agree.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Sequence

import numpy as np
import xxhash
from numpy.typing import NDArray

from dynamo.wire.block_arithmetic import MOST_TOKENS, hash_rows

Hashes = NDArray[np.uint64]
"""Shape (blocks,), dtype uint64."""
Tokens = Sequence[int] | NDArray[np.integer]

SEED = 1337
_FEWEST_ROWS = 512
"""Below this many blocks a library call per block (0.14 us) beats numpy's fixed cost (25-60 us, by block size)."""
_MASK = (1 << 64) - 1
_digest = xxhash.xxh3_64_intdigest
_pack_pair = struct.Struct("<QQ").pack


def block_hashes(
    tokens: Tokens, block_size: int, *, lora_name: str | None = None, cache_salt: str | None = None
) -> Hashes:
    """One hash per full block of `block_size` token ids; a trailing partial block is dropped.

    Prompts of different adapters or salts share no hash; an empty name or salt is the same as none.
    Raises ValueError for a block size below 1 or a token id outside 0..2**32-1.
    """
    if block_size < 1:
        raise ValueError(f"block_size: found {block_size}, expected at least 1")
    ids = _token_ids(tokens)
    count = len(ids) // block_size
    ids = ids[: count * block_size]
    seed = _seed(lora_name, cache_salt)
    if block_size <= MOST_TOKENS and count >= _FEWEST_ROWS:
        return hash_rows(ids.reshape(count, block_size), seed)
    packed = ids.tobytes()
    width = 4 * block_size
    starts = range(0, count * width, width)
    return np.array([_digest(packed[start : start + width], seed) for start in starts], dtype=np.uint64)


def sequence_hashes(blocks: Hashes, parent: int | None = None) -> Hashes:
    """Chains block hashes: entry i names block i together with all blocks before it.

    `parent` is the sequence hash of the block just before `blocks[0]` (None: `blocks` start the prompt), so a chain
    can be extended piece by piece. About 0.1 us a block: each link needs the one before it.
    """
    values: list[int] = blocks.tolist()
    if not values:
        return np.empty(0, dtype=np.uint64)
    chain: list[int] = []
    if parent is None:
        parent = values.pop(0)
        chain.append(parent)
    append = chain.append
    for value in values:
        parent = _digest(_pack_pair(parent, value), SEED)
        append(parent)
    return np.array(chain, dtype=np.uint64)


def _seed(lora_name: str | None, cache_salt: str | None) -> int:
    seed = SEED
    if lora_name:
        seed += _digest(lora_name.encode(), 0)
    if cache_salt:
        seed += _digest(cache_salt.encode(), 1)
    return seed & _MASK


def _token_ids(tokens: Tokens) -> NDArray[np.uint32]:
    if isinstance(tokens, np.ndarray):
        if tokens.dtype != np.uint32 and tokens.size and not 0 <= int(tokens.min()) <= int(tokens.max()) < 1 << 32:
            raise ValueError(f"token ids: found {tokens.min()}..{tokens.max()}, expected 0..{(1 << 32) - 1}")
        return np.ascontiguousarray(tokens, dtype="<u4")
    try:
        # array() reads a list twice as fast as numpy does.
        return np.frombuffer(array("I", tokens), dtype=np.uint32).astype("<u4", copy=False)
    except OverflowError:
        bad = next(token for token in tokens if not 0 <= token < 1 << 32)
        raise ValueError(f"token ids: found {bad}, expected 0..{(1 << 32) - 1}") from None
