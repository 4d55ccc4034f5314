"""`python -m benchmarks.index [--workers 1000] [--tokens 32768]`: CPU time per operation, beside its target.

CPU time of this process, not wall time, since the machine may be shared; the median of many runs. Each match is held
against the naive model's before anything is timed. Exit code 1 if an answer is wrong or a target is missed.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.index.naive import NaiveIndex
from dynamo.router.index import PrefixIndex
from dynamo.wire.blocks import block_hashes, sequence_hashes

BLOCK_SIZE = 16
MATCH_TARGET_MS = 1.0
STORE_TARGET_PER_S = 2_000_000
HASH_TARGET_MS = 1.0
"""Per stage: block hashes, chaining."""


@dataclass(frozen=True, slots=True)
class Line:
    """One measured operation."""

    what: str
    measured: str
    target: str
    passes: bool


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, default=1000)
    parser.add_argument("--tokens", type=int, default=32_768, help="length of the matched prompt")
    parser.add_argument("--repeats", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    lines = measure(arguments.workers, arguments.tokens, arguments.repeats, arguments.seed)
    table = Table(title=f"{arguments.tokens} tokens, {BLOCK_SIZE} per block, {arguments.workers} workers (CPU time)")
    for column in ("operation", "measured", "target", "result"):
        table.add_column(column)
    for line in lines:
        table.add_row(line.what, line.measured, line.target, "pass" if line.passes else "FAIL")
    Console().print(table)
    return 0 if all(line.passes for line in lines) else 1


def measure(workers: int, tokens: int, repeats: int, seed: int) -> list[Line]:
    rng = random.Random(seed)
    prompt = np.array(rng.choices(range(50_000), k=tokens), dtype=np.uint32)
    blocks = block_hashes(prompt, BLOCK_SIZE)
    chain = sequence_hashes(blocks).tolist()
    staggered, full = _staggered(chain, workers, rng), [(worker, chain) for worker in range(workers)]
    return [
        _timed("block hashes", lambda: block_hashes(prompt, BLOCK_SIZE), HASH_TARGET_MS, repeats),
        _timed("sequence hashes", lambda: sequence_hashes(blocks), HASH_TARGET_MS, repeats),
        *_matched("longest match, every worker at another depth", staggered, chain, repeats),
        *_matched("longest match, every worker holds all", full, chain, repeats),
        _stored("stores, blocks of one worker each", [(w, _others(rng, len(chain))) for w in range(workers)]),
        _stored("stores, blocks that others hold", staggered),
    ]


def _staggered(chain: list[int], workers: int, rng: random.Random) -> list[tuple[int, list[int]]]:
    """The dearest case for a match: each worker holds a random share of the prompt, beside a prompt of its own."""
    held = []
    for worker in range(workers):
        held.append((worker, chain[: rng.randint(1, len(chain))]))
        held.append((worker, _others(rng, len(chain))))
    return held


def _others(rng: random.Random, count: int) -> list[int]:
    return [rng.getrandbits(64) for _ in range(count)]


def _matched(what: str, held: list[tuple[int, list[int]]], chain: list[int], repeats: int) -> list[Line]:
    index, naive = PrefixIndex(), NaiveIndex()
    for worker, hashes in held:
        index.store(worker, hashes)
        naive.store(worker, hashes)
    expected = naive.match(chain)
    index.check()
    is_right = index.match(chain) == expected
    check = Line(f"{what}: answers", f"{len(expected)} workers", "naive model's", is_right)
    return [_timed(what, lambda: index.match(chain), MATCH_TARGET_MS, repeats), check]


def _stored(what: str, held: list[tuple[int, list[int]]]) -> Line:
    index, naive = PrefixIndex(), NaiveIndex()
    count = sum(len(hashes) for _, hashes in held)
    began_s = time.process_time()
    for worker, hashes in held:
        index.store(worker, hashes)
    per_s = count / (time.process_time() - began_s)
    for worker, hashes in held:
        naive.store(worker, hashes)
    is_right = all(index.held(worker) == naive.held(worker) for worker, _ in held)
    target = f">= {STORE_TARGET_PER_S / 1e6:g} M blocks/s"
    return Line(what, f"{per_s / 1e6:.2f} M blocks/s", target, is_right and per_s >= STORE_TARGET_PER_S)


def _timed(what: str, act: Callable[[], object], target_ms: float, repeats: int) -> Line:
    taken_ms = []
    for _ in range(repeats):
        began_ns = time.process_time_ns()
        act()
        taken_ms.append((time.process_time_ns() - began_ns) / 1e6)
    median_ms = statistics.median(taken_ms)
    return Line(what, f"{median_ms:.3f} ms (max {max(taken_ms):.3f})", f"<= {target_ms:g} ms", median_ms <= target_ms)


if __name__ == "__main__":
    sys.exit(main())
