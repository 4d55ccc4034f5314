from __future__ import annotations

import numpy as np
import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from dynamo.wire.block_arithmetic import MOST_TOKENS, hash_rows
from dynamo.wire.blocks import block_hashes, sequence_hashes

TOKENS = list(range(1, 71))


def test_block_hashes_equal_upstreams_vector() -> None:
    assert block_hashes(TOKENS, 16).tolist()[:3] == [
        16863443419780771464,
        2287610619914608821,
        12129935312930971799,
    ]


@pytest.mark.parametrize(
    ("lora_name", "cache_salt", "first"),
    [
        pytest.param("adapter-a", None, 4377081107200288488, id="lora"),
        pytest.param(None, "tenant1", 15427683364576906860, id="salt"),
        pytest.param("adapter-a", "tenant1", 17747104608157244523, id="both"),
        pytest.param("", "", 16863443419780771464, id="empty-is-absent"),
    ],
)
def test_adapter_and_salt_move_the_seed(lora_name: str | None, cache_salt: str | None, first: int) -> None:
    assert block_hashes(TOKENS, 16, lora_name=lora_name, cache_salt=cache_salt).tolist()[0] == first


def test_sequence_hashes_equal_upstreams_vector() -> None:
    blocks = block_hashes(list(range(400, 440)), 16)
    assert blocks.tolist() == [9302214209178002916, 13938932884121164694]
    assert sequence_hashes(blocks).tolist() == [9302214209178002916, 6411738220361899097]


@given(st.integers(0, 200), st.integers(1, 70))
def test_trailing_partial_block_is_dropped(count: int, block_size: int) -> None:
    tokens = list(range(count))
    hashes = block_hashes(tokens, block_size)
    assert len(hashes) == count // block_size
    assert hashes.tolist() == block_hashes(tokens[: len(hashes) * block_size], block_size).tolist()


@given(
    st.integers(1, MOST_TOKENS),
    st.integers(0, 2**64 - 1),
    st.integers(0, 2**32 - 1),
)
def test_vectorised_rows_equal_the_library(width: int, seed: int, shuffle: int) -> None:
    rows = np.random.default_rng(shuffle).integers(0, 2**32, (5, width), dtype=np.uint32)
    expected = [xxhash.xxh3_64_intdigest(row.astype("<u4").tobytes(), seed) for row in rows]
    assert hash_rows(rows, seed).tolist() == expected


@pytest.mark.parametrize("block_size", [1, 2, 3, 4, 5, 8, 16, 31, 32, 33, 60, 64, 128, 256])
def test_long_prompts_hash_as_short_ones(block_size: int) -> None:
    tokens = np.random.default_rng(block_size).integers(0, 200_000, 600 * block_size)
    whole = block_hashes(tokens, block_size)
    alone = [
        block_hashes(tokens[at : at + block_size], block_size).tolist()[0]
        for at in range(0, 5 * block_size, block_size)
    ]
    assert whole.tolist()[: len(alone)] == alone


@given(st.lists(st.integers(0, 2**64 - 1), max_size=40), st.integers(0, 40))
def test_chain_extends_from_any_parent(values: list[int], cut: int) -> None:
    blocks = np.array(values, dtype=np.uint64)
    whole = sequence_hashes(blocks)
    cut = min(cut, len(values))
    head = sequence_hashes(blocks[:cut])
    tail = sequence_hashes(blocks[cut:], parent=int(head[-1]) if cut else None)
    assert whole.tolist() == [*head.tolist(), *tail.tolist()]


@given(st.lists(st.integers(0, 5), min_size=1, max_size=30), st.lists(st.integers(0, 5), min_size=1, max_size=30))
def test_prompts_share_sequence_hashes_exactly_as_far_as_they_agree(left: list[int], right: list[int]) -> None:
    chains = [sequence_hashes(block_hashes(tokens, 2)).tolist() for tokens in (left, right)]
    for index, (one, other) in enumerate(zip(*chains, strict=False)):
        end = 2 * (index + 1)
        assert (one == other) == (left[:end] == right[:end])


@pytest.mark.parametrize(
    "tokens",
    [[1, -1], [2**32], np.array([-5, 4]), np.array([1, 2**32])],
    ids=["negative", "big", "negative-array", "big-array"],
)
def test_token_id_out_of_range_is_named(tokens: list[int]) -> None:
    with pytest.raises(ValueError, match=r"token ids: found .*expected 0\.\.4294967295"):
        block_hashes(tokens, 1)


def test_block_size_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match="block_size: found 0, expected at least 1"):
        block_hashes([1], 0)
