"""A sequence on its way through one rank: its tokens, how far they are computed, and the keys of its blocks.

A key names a block together with everything before it. Keys are an engine's own: whoever wants to compare them with a
router's must hash the tokens again. Pure; the scheduler and the allocator change what is kept here.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field

import xxhash

from dynamo.mocker.work import BlocksStored, Work

ENGINE_HASH_SEED = 0x6D6F636B
"""Differs from the router's on purpose: an engine's block keys are opaque to everybody else."""


@dataclass(slots=True, eq=False)
class Run:
    """One request's work, queued or running."""

    work: Work
    tokens: array[int]
    """Prompt and answer so far."""
    keys: list[int] = field(default_factory=list)
    """Keys of all full blocks of `tokens` known so far."""
    committed: int = 0
    """Leading blocks that are in the pool under their key and held by this run."""
    private: int = 0
    """Blocks held without a key."""
    computed: int = 0
    """Leading tokens whose KV exists."""
    emitted: int = 0
    cached_tokens: int = 0
    """Prompt tokens found in the cache at the first start."""
    has_started: bool = False
    is_running: bool = False

    @property
    def pending(self) -> int:
        return len(self.tokens) - self.computed

    def keys_of(self, blocks: int, block_size: int) -> list[int]:
        """Keys of the first `blocks` blocks, which `tokens` must fill."""
        while len(self.keys) < blocks:
            start = len(self.keys) * block_size
            parent = self.keys[-1] if self.keys else self.work.cache_root
            block = self.tokens[start : start + block_size].tobytes()
            self.keys.append(xxhash.xxh3_64_intdigest(parent.to_bytes(8, "little") + block, ENGINE_HASH_SEED))
        return self.keys[:blocks]

    def stored(self, first: int, last: int, block_size: int) -> BlocksStored:
        """What to tell of blocks `first` to `last` once they are in the cache."""
        return BlocksStored(
            keys=tuple(self.keys[first : last + 1]),
            parent=self.keys[first - 1] if first else None,
            tokens=tuple(self.tokens[first * block_size : (last + 1) * block_size]),
            lora=self.work.lora,
            salt=self.work.salt,
        )


def cache_root(lora: str | None, salt: str | None) -> int:
    """The root under which a request's blocks are keyed; 0 for neither adapter nor salt."""
    if not lora and not salt:
        return 0
    return xxhash.xxh3_64_intdigest(f"{lora or ''}\0{salt or ''}".encode(), ENGINE_HASH_SEED)
