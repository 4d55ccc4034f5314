"""The prefix index as its definition says it: a set of blocks per worker, compared one by one. Slow, plainly right."""

from __future__ import annotations

from collections.abc import Sequence


class NaiveIndex:
    """Blocks by worker."""

    def __init__(self) -> None:
        self._held: dict[int, set[int]] = {}

    def store(self, worker: int, hashes: Sequence[int]) -> None:
        self._held.setdefault(worker, set()).update(hashes)

    def remove(self, worker: int, hashes: Sequence[int]) -> None:
        self._held.get(worker, set()).difference_update(hashes)

    def clear(self, worker: int) -> None:
        self._held.pop(worker, None)

    def held(self, worker: int) -> int:
        return len(self._held.get(worker, ()))

    def match(self, chain: Sequence[int], start: int = 0) -> dict[int, int]:
        """Blocks in a row from `chain[start]`, by worker; workers without any are left out."""
        found = {worker: _leading(held, chain[start:]) for worker, held in self._held.items()}
        return {worker: blocks for worker, blocks in found.items() if blocks}


def _leading(held: set[int], chain: Sequence[int]) -> int:
    return next((count for count, name in enumerate(chain) if name not in held), len(chain))
