"""Requests that were sent to workers and have not ended: the load this router itself causes, by slot.

A prompt's blocks are held while its request runs; blocks that running requests of a slot share count once. Tokens still
to be prefilled count until the first output token. Requests that nobody reports on for `expiry_s` are forgotten, so a
lost `finish` cannot weigh for ever. Called by the router; pure, the clock is an argument.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec

from dynamo.router.index import PrefixIndex


@dataclass(slots=True)
class _Request:
    slot: int
    hashes: Sequence[int]
    prefill_tokens: int
    own_blocks: int
    seen_s: float
    checked_s: float
    """When expiry last looked; requests are kept in this order, so that expiring looks at few of them."""
    prompt_blocks: int
    output_tokens: int = 0
    has_output: bool = False


@dataclass(slots=True)
class _SlotLoad:
    requests: int = 0
    prefill_tokens: int = 0
    own_blocks: int = 0
    users: dict[int, int] = field(default_factory=dict)
    """Running requests by shared block."""
    computed: set[int] = field(default_factory=set)
    """Shared blocks of requests that have output."""


class SlotLoad(msgspec.Struct, frozen=True, gc=False):
    """A slot's load: requests without an end, prompt tokens still to prefill, distinct KV blocks in use."""

    requests: int = 0
    prefill_tokens: int = 0
    decode_blocks: int = 0


_IDLE = SlotLoad()


class ActiveRequests:
    """Load by slot, from `begin` to `finish` of each request."""

    def __init__(self, *, block_size: int, expiry_s: float, counts_output_blocks: bool = False) -> None:
        self.block_size = block_size
        self._expiry_s = expiry_s
        self._counts_output_blocks = counts_output_blocks
        self._requests: OrderedDict[str, _Request] = OrderedDict()
        self._slots: dict[int, _SlotLoad] = {}
        self._index = PrefixIndex()

    def __len__(self) -> int:
        return len(self._requests)

    def begin(
        self, request_id: str, slot: int, *, hashes: Sequence[int], own_blocks: int, prefill_tokens: int, now_s: float
    ) -> None:
        """`hashes` name blocks that requests may share, `own_blocks` counts those that this request never shares."""
        self.finish(request_id)
        self._requests[request_id] = _Request(
            slot, hashes, prefill_tokens, own_blocks, now_s, now_s, len(hashes) + own_blocks
        )
        load = self._slots.setdefault(slot, _SlotLoad())
        load.requests += 1
        load.prefill_tokens += prefill_tokens
        load.own_blocks += own_blocks
        users = load.users
        for name in hashes:
            users[name] = users.get(name, 0) + 1
        self._index.store(slot, hashes)

    def first_token(self, request_id: str, now_s: float) -> bool:
        """The prompt is computed. True if this freed prefill load."""
        request = self._requests.get(request_id)
        if request is None:
            return False
        request.seen_s = now_s
        load = self._slots[request.slot]
        request.has_output = True
        load.computed.update(request.hashes)
        freed, request.prefill_tokens = request.prefill_tokens, 0
        load.prefill_tokens -= freed
        return freed > 0

    def tokens(self, request_id: str, count: int, now_s: float) -> None:
        """`count` more output tokens; each full block of them weighs when output blocks are counted."""
        request = self._requests.get(request_id)
        if request is None:
            return
        request.seen_s = now_s
        request.output_tokens += count
        if self._counts_output_blocks:
            more = request.output_tokens // self.block_size + request.prompt_blocks - len(request.hashes)
            self._slots[request.slot].own_blocks += more - request.own_blocks
            request.own_blocks = more

    def finish(self, request_id: str) -> bool:
        """True if the request was running."""
        request = self._requests.pop(request_id, None)
        if request is None:
            return False
        load = self._slots[request.slot]
        load.requests -= 1
        load.prefill_tokens -= request.prefill_tokens
        load.own_blocks -= request.own_blocks
        users = load.users
        unused = []
        for name in request.hashes:
            left = users[name] - 1
            if left:
                users[name] = left
            else:
                del users[name]
                unused.append(name)
        load.computed.difference_update(unused)
        self._index.remove(request.slot, unused)
        if not load.requests:
            del self._slots[request.slot]
        return True

    def expire(self, now_s: float) -> tuple[str, ...]:
        """Forgets requests not heard of for the expiry; returns their ids."""
        expired = []
        while self._requests:
            request_id, request = next(iter(self._requests.items()))
            if request.checked_s + self._expiry_s > now_s:
                break
            if request.seen_s + self._expiry_s > now_s:
                request.checked_s = now_s
                self._requests.move_to_end(request_id)
            else:
                self.finish(request_id)
                expired.append(request_id)
        return tuple(expired)

    def drop(self, slot: int) -> None:
        """The worker is gone with its requests."""
        for request_id in [name for name, request in self._requests.items() if request.slot == slot]:
            self.finish(request_id)

    def is_prefilling(self, request_id: str) -> bool:
        request = self._requests.get(request_id)
        return request is not None and not request.has_output

    def load(self, slot: int) -> SlotLoad:
        load = self._slots.get(slot)
        if load is None:
            return _IDLE
        return SlotLoad(load.requests, load.prefill_tokens, len(load.users) + load.own_blocks)

    def match(self, chain: Sequence[int]) -> dict[int, int]:
        """Leading blocks of a prompt that running requests hold already, by slot."""
        return self._index.match(chain)

    def users(self, slot: int, name: int) -> tuple[int, bool]:
        """Running requests on `slot` whose prompt has this block, and whether one of them is past its prefill."""
        load = self._slots.get(slot)
        if load is None:
            return 0, False
        return load.users.get(name, 0), name in load.computed

    def check(self) -> None:
        self._index.check()
        for slot, load in self._slots.items():
            mine = [request for request in self._requests.values() if request.slot == slot]
            assert load.requests == len(mine) > 0
            assert load.computed <= load.users.keys()
            assert load.prefill_tokens == sum(request.prefill_tokens for request in mine) >= 0
            assert load.own_blocks == sum(request.own_blocks for request in mine) >= 0
            assert sum(load.users.values()) == sum(len(request.hashes) for request in mine)
            assert len(load.users) == self._index.held(slot)
