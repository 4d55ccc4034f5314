"""KV-cache events as engines send them: vLLM's and SGLang's ZMQ payloads, over their versions.

A payload is msgpack `[ts, [event, …], dp_rank]`; an event is a map tagged `type` (vLLM since 0.24, SGLang) or a
positional array that begins with the type (vLLM up to 0.20). Field facts: vLLM 0.11 to 0.33, SGLang 0.5. Block hashes
are opaque handles: signed, unsigned or bytes, folded here to u64. Decodes only; what the events mean for a cache is
`dynamo.events.translate`'s matter. Called by the event relay.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard

import msgspec

from dynamo.wire.router_events import Tier

_U64 = (1 << 64) - 1
_HEX_DIGITS_OF_MM_ID = 64

_TIERS = {
    **dict.fromkeys(("GPU", "DEVICE"), Tier.DEVICE),
    **dict.fromkeys(("CPU", "CPU_PINNED", "CPU_TIER1"), Tier.HOST),
    **dict.fromkeys(("CPU_TIER2", "DISK", "NVME", "STORAGE"), Tier.DISK),
    **dict.fromkeys(("EXTERNAL", "NETWORK", "REMOTE", "SHARED"), Tier.EXTERNAL),
}

_STORED_FIELDS = (
    "block_hashes",
    "parent_block_hash",
    "token_ids",
    "block_size",
    "lora_id",
    "medium",
    "lora_name",
    "extra_keys",
)
_REMOVED_FIELDS = ("block_hashes", "medium")


class EventDecodeError(ValueError):
    """A payload that is no event batch, or an event that lacks what it must have; the message names the field."""


@dataclass(frozen=True, slots=True)
class BlocksStored:
    """Consecutive blocks became cached; `handles[i]` covers tokens `[i * block_size, (i + 1) * block_size)`."""

    handles: tuple[int, ...]
    parent: int | None
    """Handle of the block before the first one; None: the prompt starts here."""
    token_ids: Sequence[int]
    block_size: int
    tier: Tier
    lora_name: str | None = None
    cache_salt: str | None = None
    """As told by this event; engines tell it with a prompt's first block only."""
    plain_blocks: int = 0
    """How many leading blocks are named by token ids alone; the block after them contains an image or other media."""


@dataclass(frozen=True, slots=True)
class BlocksRemoved:
    handles: tuple[int, ...]
    tier: Tier


@dataclass(frozen=True, slots=True)
class AllCleared:
    pass


EngineEvent = BlocksStored | BlocksRemoved | AllCleared


@dataclass(frozen=True, slots=True)
class EngineBatch:
    dp_rank: int | None
    """None: an old engine that does not say; the socket tells."""
    events: tuple[EngineEvent, ...]
    filtered: int = 0
    """Events of other cache groups (sliding window and the like), which prefix matching must not see."""
    rejected: tuple[str, ...] = ()
    """One reason per event that could not be read; the others of the batch are good."""


def decode_engine_batch(payload: bytes) -> EngineBatch:
    """Raises EventDecodeError when the batch as a whole cannot be read, and nothing else."""
    try:
        batch = msgspec.msgpack.decode(payload)
    except (msgspec.MsgspecError, RecursionError, TypeError, ValueError) as error:
        raise EventDecodeError(f"event batch: {error}") from error
    if not isinstance(batch, list) or len(batch) < 2 or not isinstance(batch[1], list):
        raise EventDecodeError("event batch: expected [timestamp, [events], dp_rank]")
    rank = batch[2] if len(batch) > 2 else None
    if rank is not None and (not _is_int(rank) or rank < 0):
        raise EventDecodeError(f"dp_rank: found {_shown(rank)}, expected an integer from 0")
    events: list[EngineEvent] = []
    rejected: list[str] = []
    filtered = 0
    for raw in batch[1]:
        try:
            event = _event(raw)
        except EventDecodeError as error:
            rejected.append(str(error))
        else:
            if event is None:
                filtered += 1
            else:
                events.append(event)
    return EngineBatch(rank, tuple(events), filtered, tuple(rejected))


def _event(raw: object) -> EngineEvent | None:
    """None: belongs to a cache group that does not matter."""
    fields, group, kind = _fields(raw)
    read = _READERS.get(kind)
    if read is None:
        raise EventDecodeError(f"type: found {_shown(kind)}, expected one of {', '.join(_READERS)}")
    return None if group else read(fields)


def _fields(raw: object) -> tuple[Mapping[str, Any], int, str]:
    """Fields by name, cache group and type of either encoding."""
    if isinstance(raw, dict):
        group = raw.get("group_idx")
        return raw, group if _is_int(group) else 0, str(raw.get("type"))
    if isinstance(raw, list) and raw:
        names = _REMOVED_FIELDS if raw[0] == "BlockRemoved" else _STORED_FIELDS
        # The group is the first integer after the named fields: versions differ in what stands before it.
        group = next((value for value in raw[1 + len(names) :] if _is_int(value)), 0)
        return dict(zip(names, raw[1:], strict=False)), group, str(raw[0])
    raise EventDecodeError(f"event: found {_shown(raw)}, expected a map or an array")


def _stored(fields: Mapping[str, Any]) -> BlocksStored:
    handles = _handles(fields.get("block_hashes"))
    parent = fields.get("parent_block_hash")
    tokens = _tokens(fields.get("token_ids"))
    block_size = fields.get("block_size")
    if not _is_int(block_size) or block_size < 1:
        raise EventDecodeError(f"block_size: found {_shown(block_size)}, expected an integer from 1")
    if len(tokens) != len(handles) * block_size:
        raise EventDecodeError(f"token_ids: found {len(tokens)}, expected {len(handles)} blocks of {block_size}")
    lora_name = _text(fields, "lora_name")
    salt, plain_blocks = _extra_keys(fields.get("extra_keys"), lora_name, len(handles))
    return BlocksStored(
        handles=handles,
        parent=None if parent is None else _handle(parent, "parent_block_hash"),
        token_ids=tokens,
        block_size=block_size,
        tier=_tier(fields),
        lora_name=lora_name,
        cache_salt=_text(fields, "cache_salt") or salt,
        plain_blocks=plain_blocks,
    )


def _removed(fields: Mapping[str, Any]) -> BlocksRemoved:
    return BlocksRemoved(_handles(fields.get("block_hashes")), _tier(fields))


def _cleared(_: Mapping[str, Any]) -> AllCleared:
    return AllCleared()


_READERS: Mapping[str, Callable[[Mapping[str, Any]], EngineEvent]] = {
    "BlockStored": _stored,
    "BlockRemoved": _removed,
    "AllBlocksCleared": _cleared,
}


def _handles(raw: object) -> tuple[int, ...]:
    if not isinstance(raw, list):
        raise EventDecodeError(f"block_hashes: found {_shown(raw)}, expected a list")
    return tuple(_handle(value, "block_hashes") for value in raw)


def _handle(raw: object, field: str) -> int:
    if isinstance(raw, bytes):
        return int.from_bytes(raw, "big") & _U64
    if _is_int(raw):
        return raw & _U64
    raise EventDecodeError(f"{field}: found {_shown(raw)}, expected a 64-bit integer or bytes")


def _tokens(raw: object) -> Sequence[int]:
    """Token ids; speculative engines send pairs (token, next token), of which the first counts."""
    if not isinstance(raw, list):
        raise EventDecodeError(f"token_ids: found {_shown(raw)}, expected a list")
    try:
        if raw and isinstance(raw[0], list):
            return array("I", [pair[0] for pair in raw])
        return array("I", raw)
    except (TypeError, OverflowError, LookupError, ValueError) as error:
        raise EventDecodeError("token_ids: expected integers from 0 to 4294967295") from error


def _tier(fields: Mapping[str, Any]) -> Tier:
    medium = fields.get("medium")
    if medium is None:
        return Tier.DEVICE
    tier = _TIERS.get(medium.upper()) if isinstance(medium, str) else None
    if tier is None:
        raise EventDecodeError(f"medium: found {_shown(medium)}, expected one of {', '.join(_TIERS)}")
    return tier


def _text(fields: Mapping[str, Any], name: str) -> str | None:
    value = fields.get(name)
    if value is not None and not isinstance(value, str):
        raise EventDecodeError(f"{name}: found {_shown(value)}, expected text")
    return value


def _extra_keys(raw: object, lora_name: str | None, blocks: int) -> tuple[str | None, int]:
    """(cache salt, leading blocks without media) from what an engine mixed into its hashes, one entry per block.

    An entry is None or a list: the adapter's name, media (ids of 64 hex digits, or tuples with offsets), and the
    salt, as plain text, with the prompt's first block only.
    """
    if raw is None:
        return None, blocks
    if not isinstance(raw, list):
        raise EventDecodeError(f"extra_keys: found {_shown(raw)}, expected a list")
    salt: str | None = None
    for index, entry in enumerate(raw[:blocks]):
        if entry is None:
            continue
        if not isinstance(entry, list):
            raise EventDecodeError(f"extra_keys[{index}]: found {_shown(entry)}, expected a list")
        for key in entry:
            if key == lora_name:
                continue
            if index == 0 and isinstance(key, str) and not _is_media_id(key):
                salt = key
            else:
                return salt, index
    return salt, blocks


def _is_media_id(key: str) -> bool:
    return len(key) == _HEX_DIGITS_OF_MM_ID and all(digit in "0123456789abcdefABCDEF" for digit in key)


def _is_int(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:40]}…"
