"""Who waits for a pass, in the order of their turns.

Duty: the lower priority goes first, within one the eldest; what has waited too long goes before all that is younger. A
turn costs the same however many wait. It must not know the time, nor what a pass does. Caller: the queue. Pure.
"""

from __future__ import annotations

from collections.abc import Container, Iterator
from typing import Generic, TypeVar

from dynamo_operator.reconcile import Priority

Item = TypeVar("Item")


class Waiting(Generic[Item]):
    """Each item once, in the lane of its priority, with the moment in seconds since when it waits."""

    def __init__(self) -> None:
        self._lanes: dict[Priority, dict[Item, float]] = {priority: {} for priority in Priority}

    def __len__(self) -> int:
        return sum(len(lane) for lane in self._lanes.values())

    def __contains__(self, item: object) -> bool:
        return any(item in lane for lane in self._lanes.values())

    def __iter__(self) -> Iterator[Item]:
        for lane in self._lanes.values():
            yield from lane

    def of(self, priority: Priority) -> Iterator[Item]:
        return iter(self._lanes[priority])

    def put(self, item: Item, priority: Priority, now_s: float) -> None:
        """One that waits already keeps its moment; with another priority it goes behind those of that one."""
        if item not in self._lanes[priority]:
            since_s = self.drop(item)
            self._lanes[priority][item] = now_s if since_s is None else since_s

    def drop(self, item: Item) -> float | None:
        """Since when it had waited; None where it did not."""
        found = [lane.pop(item) for lane in self._lanes.values() if item in lane]
        return found[0] if found else None

    def take(self, busy: Container[Item], overdue_s: float) -> Item | None:
        """The next that is not busy, waiting no more; what waits since `overdue_s` or longer goes first."""
        heads = [head for lane in self._lanes.values() if (head := _head(lane, busy))]
        if not heads:
            return None
        since_s, item = min(heads, key=lambda head: head[0])
        if since_s > overdue_s:
            item = heads[0][1]
        self.drop(item)
        return item

    def clear(self) -> None:
        for lane in self._lanes.values():
            lane.clear()


def _head(lane: dict[Item, float], busy: Container[Item]) -> tuple[float, Item] | None:
    return next(((since_s, item) for item, since_s in lane.items() if item not in busy), None)
