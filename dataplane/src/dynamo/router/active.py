"""Requests that were sent to workers and have not ended: the load this router itself causes, by slot.

A prompt's blocks are held while its request runs; blocks that running requests of a slot share count once. Tokens still
to be prefilled count until the first output token. Requests that nobody reports on for `expiry_s` are forgotten, so a
lost `finish` cannot weigh for ever. Called by the router; pure, the clock is an argument.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

from dynamo.router.columns import Column, Ints
from dynamo.router.loads import Loads, SlotLoad
from dynamo.router.owners import OwnerMasks


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


class ActiveRequests:
    """Load by slot, from `begin` to `finish` of each request."""

    def __init__(self, *, block_size: int, expiry_s: float, counts_output_blocks: bool = False) -> None:
        self.block_size = block_size
        self._expiry_s = expiry_s
        self._counts_output_blocks = counts_output_blocks
        self._requests: OrderedDict[str, _Request] = OrderedDict()
        self._request_counts = Column()
        self._prefill_tokens = Column()
        self._own_blocks = Column()
        self._users: dict[int, Counter[int]] = {}
        """Running requests by shared block. A request has all blocks of its chain, so along a chain these only fall."""
        self._owners = OwnerMasks()
        """The same blocks, for matching a prompt against all slots at once."""
        self._shared_blocks = Column()
        """How many they are."""

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
        self._request_counts[slot] += 1
        self._prefill_tokens[slot] += prefill_tokens
        self._own_blocks[slot] += own_blocks
        if hashes:
            self._share(slot, hashes)

    def first_token(self, request_id: str, now_s: float) -> bool:
        """The prompt is computed. True if this freed prefill load."""
        request = self._requests.get(request_id)
        if request is None:
            return False
        request.seen_s = now_s
        request.has_output = True
        freed, request.prefill_tokens = request.prefill_tokens, 0
        self._prefill_tokens[request.slot] -= freed
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
            self._own_blocks[request.slot] += more - request.own_blocks
            request.own_blocks = more

    def finish(self, request_id: str) -> bool:
        """True if the request was running."""
        request = self._requests.pop(request_id, None)
        if request is None:
            return False
        slot, hashes = request.slot, request.hashes
        self._request_counts[slot] -= 1
        self._prefill_tokens[slot] -= request.prefill_tokens
        self._own_blocks[slot] -= request.own_blocks
        if hashes:
            self._unshare(slot, hashes)
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
        blocks = self._shared_blocks[slot] + self._own_blocks[slot]
        return SlotLoad(self._request_counts[slot], self._prefill_tokens[slot], blocks)

    def loads(self, slots: Ints) -> Loads:
        blocks = self._shared_blocks.of(slots) + self._own_blocks.of(slots)
        return Loads(self._request_counts.of(slots), self._prefill_tokens.of(slots), blocks)

    def match(self, chain: Sequence[int]) -> dict[int, int]:
        """Leading blocks of a prompt that running requests hold already, by slot."""
        return self._owners.match(chain)

    def users(self, slot: int, name: int) -> int:
        """Running requests on `slot` whose prompt has this block."""
        users = self._users.get(slot)
        return users.get(name, 0) if users is not None else 0

    def check(self) -> None:
        assert self._owners.by_slot() == {slot: set(users) for slot, users in self._users.items() if users}
        assert self._users.keys() == {request.slot for request in self._requests.values() if request.hashes}
        for slot in {request.slot for request in self._requests.values()}:
            users = self._users.get(slot, Counter())
            mine = [request for request in self._requests.values() if request.slot == slot]
            assert self._request_counts[slot] == len(mine)
            assert self._prefill_tokens[slot] == sum(request.prefill_tokens for request in mine) >= 0
            assert self._own_blocks[slot] == sum(request.own_blocks for request in mine) >= 0
            assert users == Counter(name for request in mine for name in request.hashes)
            assert len(users) == self._shared_blocks[slot]

    def _share(self, slot: int, hashes: Sequence[int]) -> None:
        users = self._users.setdefault(slot, Counter())
        known = bisect_left(hashes, True, key=lambda name: name not in users)
        users.update(hashes)
        self._owners.add(slot, hashes[known:])
        self._shared_blocks[slot] = len(users)

    def _unshare(self, slot: int, hashes: Sequence[int]) -> None:
        users = self._users[slot]
        shared = bisect_left(hashes, True, key=lambda name: users[name] == 1)
        unused = hashes[shared:]
        for name in hashes[:shared]:
            users[name] -= 1
        for name in unused:
            del users[name]
        self._owners.take_away(slot, unused)
        self._shared_blocks[slot] = len(users)
        if not users:
            del self._users[slot]
            self._owners.forget(slot)
