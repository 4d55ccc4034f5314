"""What workers tell routers: KV-cache changes and load. Frames and payloads, without sockets.

A ZMQ message has four frames: topic, publisher id (8 bytes, big-endian), sequence (8 bytes, big-endian), payload.
The payload is msgpack of `KvBatch` (topic `kv-events`) or `Load` (topic `kv_metrics`). Blocks are named by chained
sequence hash (see `blocks`), packed as little-endian u64: the worker translates its engine's opaque handles, so a
router needs no per-worker tables. `event_id` counts per (worker, rank) from 0 without gaps; a gap means state was lost
and must be fetched anew from the worker (`KvState`).
"""

from __future__ import annotations

import enum
from typing import TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

T = TypeVar("T")

KV_TOPIC = b"kv-events"
LOAD_TOPIC = b"kv_metrics"

Hashes = NDArray[np.uint64]
"""Shape (blocks,), dtype uint64: chained sequence hashes."""


class EventError(ValueError):
    """A message that cannot be read; the publisher's state must be fetched anew."""


class Tier(enum.Enum):
    """Where a worker keeps a block."""

    DEVICE = "device"
    HOST = "host_pinned"
    DISK = "disk"
    EXTERNAL = "external"


class Stored(msgspec.Struct, frozen=True, tag="stored", array_like=True):
    event_id: int
    hashes: bytes
    tier: Tier = Tier.DEVICE


class Removed(msgspec.Struct, frozen=True, tag="removed", array_like=True):
    event_id: int
    hashes: bytes
    tier: Tier = Tier.DEVICE


class Cleared(msgspec.Struct, frozen=True, tag="cleared", array_like=True):
    """The rank holds nothing any more, on any tier."""

    event_id: int


KvEvent = Stored | Removed | Cleared


class KvBatch(msgspec.Struct, frozen=True, array_like=True):
    """Consecutive events of one rank; at most 128 events or 8,192 blocks (a single larger event travels alone)."""

    worker_id: int
    dp_rank: int
    events: tuple[KvEvent, ...]


class Load(msgspec.Struct, frozen=True, array_like=True):
    """What a rank is busy with; replaces the rank's previous report."""

    worker_id: int
    dp_rank: int
    active_decode_blocks: int
    active_prefill_tokens: int
    kv_used_blocks: int
    running_requests: int = 0
    waiting_requests: int = 0


class KvState(msgspec.Struct, frozen=True, array_like=True):
    """A rank's whole cache, or what changed since: answer of `GET {system_address}/v1/kv_state/{dp_rank}`.

    With `?after=<event_id>` and that history still buffered, `events` holds all later events and `tiers` is None;
    otherwise `tiers` is the full content as of `last_event_id` (-1: nothing happened yet).
    """

    worker_id: int
    dp_rank: int
    last_event_id: int
    tiers: dict[Tier, bytes] | None = None
    events: tuple[KvEvent, ...] = ()


_encoder = msgspec.msgpack.Encoder()
_batch_decoder = msgspec.msgpack.Decoder(KvBatch)
_load_decoder = msgspec.msgpack.Decoder(Load)
_state_decoder = msgspec.msgpack.Decoder(KvState)


def pack_hashes(hashes: Hashes) -> bytes:
    return np.ascontiguousarray(hashes, dtype="<u8").tobytes()


def unpack_hashes(packed: bytes) -> Hashes:
    if len(packed) % 8:
        raise EventError(f"block hashes: {len(packed)} bytes, expected a multiple of 8")
    return np.frombuffer(packed, dtype="<u8")


def encode(message: KvBatch | Load | KvState) -> bytes:
    return _encoder.encode(message)


def decode_batch(payload: bytes) -> KvBatch:
    return _decode(_batch_decoder, payload, "kv-events")


def decode_load(payload: bytes) -> Load:
    return _decode(_load_decoder, payload, "kv_metrics")


def decode_state(payload: bytes) -> KvState:
    return _decode(_state_decoder, payload, "kv_state")


def _decode(decoder: msgspec.msgpack.Decoder[T], payload: bytes, what: str) -> T:
    try:
        return decoder.decode(payload)
    except msgspec.MsgspecError as error:
        raise EventError(f"{what}: {error}") from error
