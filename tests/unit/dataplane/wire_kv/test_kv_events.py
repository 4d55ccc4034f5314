"""Engine events of every known version decode to the same values; anything else is an EventDecodeError."""

from __future__ import annotations

import contextlib

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynamo.wire.kv_events import (
    AllCleared,
    BlocksRemoved,
    BlocksStored,
    EngineEvent,
    EventDecodeError,
    decode_engine_batch,
)
from dynamo.wire.router_events import Tier

TOKENS = list(range(8))


def a_payload(*events: object, rank: object = 0) -> bytes:
    return msgspec.msgpack.encode([1.5, list(events), rank])


def decoded(*events: object) -> tuple[EngineEvent, ...]:
    batch = decode_engine_batch(a_payload(*events))
    assert batch.rejected == ()
    return batch.events


def a_stored(**changes: object) -> dict[str, object]:
    return {
        "type": "BlockStored",
        "block_hashes": [11, 12],
        "parent_block_hash": None,
        "token_ids": TOKENS,
        "block_size": 4,
        "lora_id": None,
        "medium": "GPU",
        **changes,
    }


def stored(raw: object) -> BlocksStored:
    (event,) = decoded(raw)
    assert isinstance(event, BlocksStored)
    return event


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(["BlockStored", [11, 12], None, TOKENS, 4, None], id="vllm-0.10"),
        pytest.param(["BlockStored", [11, 12], None, TOKENS, 4, None, "GPU"], id="vllm-0.11"),
        pytest.param(["BlockStored", [11, 12], None, TOKENS, 4, None, "GPU", None], id="vllm-0.16"),
        pytest.param(["BlockStored", [11, 12], None, TOKENS, 4, None, "GPU", None, [None, None], 0], id="vllm-0.20"),
        pytest.param(
            a_stored(group_idx=0, extra_keys=[None, None], kv_cache_spec_kind="full_attention"), id="vllm-0.32"
        ),
        pytest.param(a_stored(ownership="x", session_id="s", lookahead_token_ids=[9]), id="vllm-0.33-unknown-fields"),
        pytest.param(a_stored(token_ids=[[t, t + 1] for t in TOKENS]), id="speculative-pairs"),
    ],
)
def test_every_version_of_stored_means_the_same(raw: object) -> None:
    event = stored(raw)

    assert event.handles == (11, 12)
    assert event.parent is None
    assert list(event.token_ids) == TOKENS
    assert (event.block_size, event.tier, event.lora_name, event.cache_salt, event.plain_blocks) == (
        4,
        Tier.DEVICE,
        None,
        None,
        2,
    )


@pytest.mark.parametrize(
    "raw",
    [
        ["BlockRemoved", [7], "GPU"],
        ["BlockRemoved", [7]],
        ["BlockRemoved", [7], "GPU", 0],
        {"type": "BlockRemoved", "block_hashes": [7], "medium": "GPU", "group_idx": 0},
    ],
    ids=["vllm-0.11", "no-medium", "vllm-0.20", "vllm-0.32"],
)
def test_every_version_of_removed_means_the_same(raw: object) -> None:
    assert decoded(raw) == (BlocksRemoved((7,), Tier.DEVICE),)


@pytest.mark.parametrize("raw", [["AllBlocksCleared"], {"type": "AllBlocksCleared"}], ids=["array", "map"])
def test_both_encodings_of_cleared(raw: object) -> None:
    assert decoded(raw) == (AllCleared(),)


@pytest.mark.parametrize(
    ("raw", "handle"),
    [
        pytest.param(-1, 2**64 - 1, id="sglang-signed"),
        pytest.param(2**64 - 1, 2**64 - 1, id="vllm-unsigned"),
        pytest.param(-(2**63), 2**63, id="smallest-signed"),
        pytest.param(b"\x01" * 24 + b"\0\0\0\0\0\0\0\x05", 5, id="vllm-bytes"),
        pytest.param(b"", 0, id="no-bytes"),
    ],
)
def test_handles_fold_to_unsigned_64_bits(raw: object, handle: int) -> None:
    event = stored(a_stored(block_hashes=[raw, 12], parent_block_hash=raw))

    assert event.handles == (handle, 12)
    assert event.parent == handle


@pytest.mark.parametrize(
    ("medium", "tier"),
    [
        (None, Tier.DEVICE),
        ("DEVICE", Tier.DEVICE),
        ("gpu", Tier.DEVICE),
        ("CPU", Tier.HOST),
        ("CPU_PINNED", Tier.HOST),
        ("CPU_TIER1", Tier.HOST),
        ("CPU_TIER2", Tier.DISK),
        ("DISK", Tier.DISK),
        ("NVME", Tier.DISK),
        ("STORAGE", Tier.DISK),
        ("EXTERNAL", Tier.EXTERNAL),
        ("REMOTE", Tier.EXTERNAL),
    ],
)
def test_media_become_tiers(medium: str | None, tier: Tier) -> None:
    assert stored(a_stored(medium=medium)).tier is tier


@pytest.mark.parametrize(
    ("changes", "salt", "plain"),
    [
        pytest.param({"cache_salt": "t1"}, "t1", 2, id="salt-field"),
        pytest.param({"extra_keys": [["t1"], None]}, "t1", 2, id="salt-key"),
        pytest.param({"lora_name": "sql", "extra_keys": [["sql", "t1"], ["sql"]]}, "t1", 2, id="adapter-and-salt"),
        pytest.param({"extra_keys": [["a" * 64], None]}, None, 0, id="image-in-first-block"),
        pytest.param({"extra_keys": [None, [["img", 3]]]}, None, 1, id="image-in-second-block"),
        pytest.param({"extra_keys": [["t1"], ["a" * 64]]}, "t1", 1, id="salt-then-image"),
    ],
)
def test_extra_keys_tell_salt_and_media(changes: dict[str, object], salt: str | None, plain: int) -> None:
    event = stored(a_stored(**changes))

    assert event.cache_salt == salt
    assert event.plain_blocks == plain


@pytest.mark.parametrize(
    "raw",
    [
        a_stored(group_idx=1),
        {"type": "BlockRemoved", "block_hashes": [1], "group_idx": 2},
        ["BlockStored", [11, 12], None, TOKENS, 4, None, "GPU", None, None, 1],
        ["BlockStored", [11, 12], None, TOKENS, 4, None, "GPU", None, None, None, 1],
        ["BlockRemoved", [1], "GPU", 3],
    ],
    ids=["map", "map-removed", "array", "array-with-media", "array-removed"],
)
def test_other_cache_groups_are_filtered(raw: object) -> None:
    batch = decode_engine_batch(a_payload(raw))

    assert (batch.events, batch.filtered, batch.rejected) == ((), 1, ())


@pytest.mark.parametrize(
    ("raw", "names"),
    [
        pytest.param({"type": "BlockMoved"}, "type", id="unknown-type"),
        pytest.param(a_stored(block_hashes="x"), "block_hashes", id="hashes-no-list"),
        pytest.param(a_stored(block_hashes=[1.5, 2]), "block_hashes", id="hash-no-integer"),
        pytest.param(a_stored(block_hashes=[True, 2]), "block_hashes", id="hash-boolean"),
        pytest.param(a_stored(parent_block_hash="p"), "parent_block_hash", id="parent"),
        pytest.param(a_stored(token_ids=[1]), "token_ids", id="too-few-tokens"),
        pytest.param(a_stored(token_ids=[-1] * 8), "token_ids", id="negative-token"),
        pytest.param(a_stored(token_ids=["a"] * 8), "token_ids", id="text-token"),
        pytest.param(a_stored(token_ids=[[1], {}]), "token_ids", id="pairs-with-a-map"),
        pytest.param(a_stored(token_ids=[[], [1]]), "token_ids", id="empty-pair"),
        pytest.param(a_stored(block_size=0), "block_size", id="block-size-zero"),
        pytest.param(a_stored(medium="TAPE"), "medium", id="medium"),
        pytest.param(a_stored(lora_name=3), "lora_name", id="lora-name"),
        pytest.param(a_stored(extra_keys=7), "extra_keys", id="extra-keys"),
        pytest.param("BlockStored", "event", id="no-container"),
        pytest.param([], "event", id="empty-array"),
    ],
)
def test_unreadable_event_is_named_and_spares_its_neighbours(raw: object, names: str) -> None:
    batch = decode_engine_batch(a_payload(["AllBlocksCleared"], raw, ["BlockRemoved", [1], "GPU"]))

    assert len(batch.events) == 2
    assert len(batch.rejected) == 1
    assert batch.rejected[0].startswith(names)


@pytest.mark.parametrize(
    "payload",
    [b"", b"\xc1", b"\x90", msgspec.msgpack.encode({"a": 1}), a_payload(rank="0"), a_payload(rank=-1), b"\x91" * 9999],
    ids=["empty", "reserved-byte", "empty-array", "map", "text-rank", "negative-rank", "bottomless"],
)
def test_unreadable_batch_is_refused(payload: bytes) -> None:
    with pytest.raises(EventDecodeError):
        decode_engine_batch(payload)


@pytest.mark.parametrize("payload", [msgspec.msgpack.encode([1.5, []]), a_payload(rank=None)], ids=["two", "null"])
def test_rank_may_be_missing(payload: bytes) -> None:
    assert decode_engine_batch(payload).dp_rank is None


ATOMS = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text() | st.binary()
TREES = st.recursive(ATOMS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4))
EVENTS = st.builds(
    lambda changes: a_stored(**changes), st.dictionaries(st.sampled_from(list(a_stored(extra_keys=0))), TREES)
) | st.lists(TREES, max_size=9).map(lambda rest: ["BlockStored", *rest])


@given(st.binary(max_size=200))
def test_random_bytes_never_raise_anything_else(payload: bytes) -> None:
    with contextlib.suppress(EventDecodeError):
        decode_engine_batch(payload)


@given(st.lists(EVENTS | TREES, max_size=3), TREES)
def test_random_structures_never_raise_anything_else(events: list[object], rank: object) -> None:
    try:
        batch = decode_engine_batch(a_payload(*events, rank=rank))
    except EventDecodeError:
        return
    assert len(batch.events) + batch.filtered + len(batch.rejected) == len(events)
