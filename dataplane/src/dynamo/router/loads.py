"""How busy slots are: one slot's load, or a column of each number for many slots."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec
import numpy as np

from dynamo.router.columns import Ints


class SlotLoad(msgspec.Struct, frozen=True, gc=False):
    """A slot's load: requests without an end, prompt tokens still to prefill, distinct KV blocks in use."""

    requests: int = 0
    prefill_tokens: int = 0
    decode_blocks: int = 0


@dataclass(frozen=True, slots=True)
class Loads:
    """The same of several slots, each of shape (slots,)."""

    requests: Ints
    prefill_tokens: Ints
    decode_blocks: Ints

    def plus(self, other: Loads) -> Loads:
        return Loads(
            self.requests + other.requests,
            self.prefill_tokens + other.prefill_tokens,
            self.decode_blocks + other.decode_blocks,
        )

    def where(self, keep: np.ndarray) -> Loads:
        """Those at the positions, or under the mask, `keep`."""
        return Loads(self.requests[keep], self.prefill_tokens[keep], self.decode_blocks[keep])

    def at(self, position: int) -> SlotLoad:
        return SlotLoad(
            int(self.requests[position]), int(self.prefill_tokens[position]), int(self.decode_blocks[position])
        )


NO_LOADS = Loads(*(np.zeros(0, dtype=np.int64) for _ in range(3)))
"""Of no slot."""
