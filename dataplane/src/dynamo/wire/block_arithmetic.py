"""XXH3 64-bit over many equally long rows at once, in numpy: the arithmetic behind `blocks`, which alone calls it.

Covers rows of 1 to 32 token ids (4 to 128 bytes), where the algorithm is a handful of multiplications per row; longer
rows are few per prompt and cheaper through the xxhash library. Constants and steps: the published XXH3 specification,
64-bit variant with seed, input lengths 4-8, 9-16 and 17-128. All arithmetic wraps at 64 bits.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

U64 = NDArray[np.uint64]

MOST_TOKENS = 32
"""Longest row in token ids that `hash_rows` takes."""

_SECRET = bytes.fromhex(
    "b8fe6c3923a44bbe7c01812cf721ad1cded46de9839097db7240a4a4b7b3671fcb79e64eccc0e578825ad07dccff7221"
    "b8084674f743248ee03590e6813a264c3c2852bb91c300cb88d0658b1b532ea371644897a20df94e3819ef46a9deacd8a8"
    "fa763fe39c343ff9dcbbc7c70b4f1d8a51e04bcdb45931c89f7ec9d9787364ea"
)
_PRIME64_1 = 0x9E3779B185EBCA87
_PRIME_MX1 = np.uint64(0x165667919E3779F9)
_PRIME_MX2 = np.uint64(0x9FB21C651E98DF25)
_MASK = (1 << 64) - 1
_LOW = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)


def hash_rows(rows: NDArray[np.uint32], seed: int) -> U64:
    """XXH3 64-bit of each row's little-endian bytes. `rows`: shape (count, 1..MOST_TOKENS); result: shape (count,)."""
    length = 4 * rows.shape[1]
    words = _Words(rows)
    if length <= 8:
        return _short(words, length, seed)
    if length <= 16:
        return _medium(words, length, seed)
    return _long(words, length, seed)


class _Words:
    """64-bit little-endian words of every row, by byte offset (a multiple of 4)."""

    def __init__(self, rows: NDArray[np.uint32]) -> None:
        self._columns: U64 = np.ascontiguousarray(rows.T, dtype=np.uint64)

    def u32(self, offset: int) -> U64:
        column: U64 = self._columns[offset // 4]
        return column

    def u64(self, offset: int) -> U64:
        return self.u32(offset) | (self.u32(offset + 4) << _HALF)


def _short(words: _Words, length: int, seed: int) -> U64:
    seed ^= int.from_bytes((seed & 0xFFFFFFFF).to_bytes(4, "little"), "big") << 32
    flip = _u64((_secret(8) ^ _secret(16)) - seed)
    mixed = (words.u32(length - 4) + (words.u32(0) << _HALF)) ^ flip
    mixed = mixed ^ _rotate(mixed, 49) ^ _rotate(mixed, 24)
    mixed = mixed * _PRIME_MX2
    mixed = mixed ^ ((mixed >> np.uint64(35)) + np.uint64(length))
    mixed = mixed * _PRIME_MX2
    result: U64 = mixed ^ (mixed >> np.uint64(28))
    return result


def _medium(words: _Words, length: int, seed: int) -> U64:
    low = words.u64(0) ^ _u64((_secret(24) ^ _secret(32)) + seed)
    high = words.u64(length - 8) ^ _u64((_secret(40) ^ _secret(48)) - seed)
    return _avalanche(np.uint64(length) + low.byteswap() + high + _multiply_fold(low, high))


def _long(words: _Words, length: int, seed: int) -> U64:
    total = np.full_like(words.u32(0), _u64(length * _PRIME64_1))
    for pair in range((length + 31) // 32):
        total += _mix(words, 16 * pair, 32 * pair, seed)
        total += _mix(words, length - 16 * (pair + 1), 32 * pair + 16, seed)
    return _avalanche(total)


def _mix(words: _Words, offset: int, secret_offset: int, seed: int) -> U64:
    low = words.u64(offset) ^ _u64(_secret(secret_offset) + seed)
    high = words.u64(offset + 8) ^ _u64(_secret(secret_offset + 8) - seed)
    return _multiply_fold(low, high)


def _multiply_fold(left: U64, right: U64) -> U64:
    """High half XOR low half of the 128-bit product, from four 32-bit products."""
    left_low, left_high = left & _LOW, left >> _HALF
    right_low, right_high = right & _LOW, right >> _HALF
    middle = left_high * right_low + ((left_low * right_low) >> _HALF)
    cross = left_low * right_high + (middle & _LOW)
    high: U64 = left_high * right_high + (middle >> _HALF) + (cross >> _HALF)
    return high ^ (left * right)


def _avalanche(value: U64) -> U64:
    value = (value ^ (value >> np.uint64(37))) * _PRIME_MX1
    return value ^ (value >> _HALF)


def _rotate(value: U64, bits: int) -> U64:
    return (value << np.uint64(bits)) | (value >> np.uint64(64 - bits))


def _secret(offset: int) -> int:
    return int.from_bytes(_SECRET[offset : offset + 8], "little")


def _u64(value: int) -> np.uint64:
    return np.uint64(value & _MASK)
