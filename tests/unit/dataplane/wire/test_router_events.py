from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynamo.wire.router_events import (
    Cleared,
    EventError,
    KvBatch,
    KvState,
    Load,
    Removed,
    Stored,
    Tier,
    decode_batch,
    decode_load,
    decode_state,
    encode,
    pack_hashes,
    unpack_hashes,
)

HASHES = np.array([1, 2**64 - 1], dtype=np.uint64)


def test_batch_survives_the_wire() -> None:
    events = (Stored(0, pack_hashes(HASHES)), Removed(1, pack_hashes(HASHES), Tier.HOST), Cleared(2))
    batch = KvBatch(worker_id=2**62, dp_rank=1, events=events)

    assert decode_batch(encode(batch)) == batch


def test_state_and_load_survive_the_wire() -> None:
    state = KvState(7, 0, last_event_id=-1, tiers={Tier.DEVICE: pack_hashes(HASHES)})
    load = Load(7, 0, active_decode_blocks=3, active_prefill_tokens=4, kv_used_blocks=5)

    assert decode_state(encode(state)) == state
    assert decode_load(encode(load)) == load


def test_hashes_survive_packing() -> None:
    assert unpack_hashes(pack_hashes(HASHES)).tolist() == HASHES.tolist()


def test_truncated_hashes_are_refused() -> None:
    with pytest.raises(EventError, match="multiple of 8"):
        unpack_hashes(b"1234567")


@given(st.binary(max_size=200))
def test_junk_is_an_event_error_and_nothing_else(payload: bytes) -> None:
    for decode in (decode_batch, decode_load, decode_state):
        try:
            decode(payload)
        except EventError:
            continue
