"""From a call to what the router is asked: token hashes where the router wants them, and routing hints.

Tokenizing is the costly part, so it happens only for routers that use it, and a prompt that cannot be tokenized is
routed without tokens rather than refused.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from numpy.typing import NDArray

from dynamo.frontend.calls import Call
from dynamo.frontend.fleet import Found, ServedModel
from dynamo.frontend.metrics.counts import Counts
from dynamo.router import Ask
from dynamo.wire.blocks import block_hashes, sequence_hashes
from dynamo.wire.errors import InvalidRequest
from dynamo.wire.openai_requests import Chat, Completions, parse_tokens


class Tokens(Protocol):
    """Turns prompts into token ids."""

    async def encode(self, call: Call, model: ServedModel) -> Sequence[int] | NDArray[Any] | None:
        """None when this model's prompts cannot be tokenized here."""
        ...


class Asking:
    """Builds asks. Stateless but for its tokenizer."""

    def __init__(self, tokens: Tokens, counts: Counts, *, clock: Callable[[], float]) -> None:
        self._tokens = tokens
        self._counts = counts
        self._clock = clock

    async def ask(self, request_id: str, call: Call, found: Found) -> Ask:
        """Raises InvalidRequest when the prompt does not fit the model's context."""
        hints = call.hints
        tokens = await self._token_ids(call, found.model) if found.model.router.needs_tokens else None
        hashes = None
        if tokens is not None:
            _check_fits(call, len(tokens), found.model.context_length)
            began_s = self._clock()
            blocks = block_hashes(
                tokens, found.model.router.block_size, lora_name=found.lora, cache_salt=hints.cache_salt
            )
            middle_s = self._clock()
            hashes = sequence_hashes(blocks)
            self._counts.hashing_ms.observe((middle_s - began_s) * 1e3)
            self._counts.seq_hashing_ms.observe((self._clock() - middle_s) * 1e3)
        return Ask(
            request_id=request_id,
            model=found.model.name,
            token_count=None if tokens is None else len(tokens),
            hashes=hashes,
            lora=found.lora,
            pinned_worker_id=hints.worker_id,
            dp_rank=hints.dp_rank,
            priority=hints.priority,
            strict_priority=hints.strict_priority,
        )

    async def _token_ids(self, call: Call, model: ServedModel) -> Sequence[int] | NDArray[Any] | None:
        request = call.request
        if isinstance(request, Chat | Completions) and request.nvext is not None and request.nvext.token_data:
            return request.nvext.token_data
        if isinstance(request, Completions) and (ids := parse_tokens(request.prompt)) is not None:
            return ids
        return await self._tokens.encode(call, model)


def _check_fits(call: Call, tokens: int, context_length: int | None) -> None:
    if context_length is not None and tokens > context_length:
        field = "messages" if isinstance(call.request, Chat) else "prompt"
        raise InvalidRequest(
            f"{field}: found {tokens} tokens; the model's context holds {context_length}",
            param=field,
            code="context_length_exceeded",
        )
