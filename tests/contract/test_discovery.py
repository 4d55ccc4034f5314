"""One suite for every discovery implementation: what a registry publishes, a watcher sees.

`tests/cluster/api/test_discovery_contract.py` runs it against a real API server.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Protocol

import msgspec
import pytest

from dynamo.discovery.file import FileDiscovery, FileRegistry
from dynamo.discovery.mem import MemFleet
from dynamo.wire.cards import WorkerCard
from dynamo.worker.ports import Registry


class Watchable(Protocol):
    def watch(self) -> AsyncIterator[tuple[WorkerCard, ...]]: ...

    @property
    def problems(self) -> tuple[str, ...]: ...


Seen = Callable[[tuple[WorkerCard, ...]], bool]


def a_card(worker_id: int = 1, **changes: object) -> WorkerCard:
    card = WorkerCard(
        worker_id=worker_id,
        name=f"w{worker_id}",
        namespace="default-agg",
        component="backend",
        engine="mocker",
        model="tiny",
        address="http://10.1.0.7:1",
        system_address="http://10.1.0.7:2",
        block_size=16,
    )
    return msgspec.structs.replace(card, **changes)


@pytest.fixture(params=["mem", "file"])
def plane(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Registry, Watchable]:
    if request.param == "mem":
        fleet = MemFleet()
        return fleet, fleet
    return FileRegistry(tmp_path / "kv"), FileDiscovery(tmp_path / "kv")


async def until(watch: AsyncIterator[tuple[WorkerCard, ...]], seen: Seen) -> tuple[WorkerCard, ...]:
    async with asyncio.timeout(5):
        async for cards in watch:
            if seen(cards):
                return cards
    raise AssertionError("the watch ended")


async def test_first_item_is_everyone_there_now(plane: tuple[Registry, Watchable]) -> None:
    registry, discovery = plane
    await registry.publish(a_card(2))
    await registry.publish(a_card(1))

    async with aclosing(discovery.watch()) as watch:
        assert await anext(watch) == (a_card(1), a_card(2))
    await registry.withdraw(1)
    await registry.withdraw(2)


async def test_first_item_comes_at_once_when_nobody_is_there(plane: tuple[Registry, Watchable]) -> None:
    async with aclosing(plane[1].watch()) as watch:
        assert await anext(watch) == ()


async def test_later_worker_its_change_and_its_leave_are_seen(plane: tuple[Registry, Watchable]) -> None:
    registry, discovery = plane
    async with aclosing(discovery.watch()) as watch:
        await anext(watch)
        await registry.publish(a_card(1))
        await until(watch, lambda cards: cards == (a_card(1),))
        await registry.publish(a_card(1, loras=("sql",)))
        await until(watch, lambda cards: cards == (a_card(1, loras=("sql",)),))
        await registry.withdraw(1)
        await until(watch, lambda cards: cards == ())


async def test_publishing_the_same_card_again_changes_nothing(plane: tuple[Registry, Watchable]) -> None:
    registry, discovery = plane
    await registry.publish(a_card(1))
    async with aclosing(discovery.watch()) as watch:
        await anext(watch)
        await registry.publish(a_card(1))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await anext(watch)
    await registry.withdraw(1)


async def test_check_finds_nothing_wrong(plane: tuple[Registry, Watchable]) -> None:
    await plane[0].check()
    async with aclosing(plane[1].watch()) as watch:
        assert await anext(watch) == (), "a check announces nobody"
    assert plane[1].problems == ()


async def test_withdrawing_an_unknown_worker_is_fine(plane: tuple[Registry, Watchable]) -> None:
    await plane[0].withdraw(99)


async def test_two_watchers_see_the_same(plane: tuple[Registry, Watchable]) -> None:
    registry, discovery = plane
    async with aclosing(discovery.watch()) as one, aclosing(discovery.watch()) as two:
        await anext(one)
        await anext(two)
        await registry.publish(a_card(5))
        await until(one, lambda cards: cards == (a_card(5),))
        await until(two, lambda cards: cards == (a_card(5),))
    await registry.withdraw(5)


async def test_strange_names_stay_apart(plane: tuple[Registry, Watchable]) -> None:
    registry, discovery = plane
    cards = [a_card(n, namespace=name) for n, name in enumerate(["..", ".", "a/b", "a%2Fb", "ü ", ""], start=1)]
    for card in cards:
        await registry.publish(card)

    async with aclosing(discovery.watch()) as watch:
        assert await anext(watch) == tuple(cards)
    for card in cards:
        await registry.withdraw(card.worker_id)
