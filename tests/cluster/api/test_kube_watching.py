"""Watching a real API server through a wire that is cut and frozen."""

from __future__ import annotations

import asyncio
import getpass
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml

from dynamo_operator.handlers import watching as watching_module
from dynamo_operator.handlers.feed import Feed
from dynamo_operator.handlers.queue import Queue
from dynamo_operator.handlers.store import Change, LiveStore
from dynamo_operator.handlers.watching import Watched, Watching
from dynamo_operator.kube import Client, Connections, Kind, Ref, find_access
from dynamo_operator.kube.objects import CONFIG_MAP, GRAPH, LEADER_WORKER_SET
from tests.cluster.local.api_only import ApiCluster
from tests.contract.kube import a_graph, a_map
from tests.fakes.wire import Wire, wire_to

DEADLINE_S = 60.0


class Nobody:
    def passed(self, root: Ref, duration_s: float, error: Exception | None, *, is_requeued: bool) -> None:
        return None


@dataclass
class Stage:
    """A watching store behind a wire, and a client beside it."""

    kube: Client
    wire: Wire
    feed: Feed
    store: LiveStore
    watching: Watching
    namespace: str
    restarts: list[float] = field(default_factory=list)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    async def until(self, holds: Callable[[], bool], deadline_s: float = DEADLINE_S) -> None:
        async with asyncio.timeout(deadline_s):
            while not holds():
                self.changed.clear()
                await self.changed.wait()

    def maps(self) -> dict[str, str]:
        found = self.store.find(CONFIG_MAP, self.namespace, labels={"of": "test"})
        return {live.ref.name: live.document["data"]["a"] for live in found}


@pytest.fixture
async def stage(api_cluster: ApiCluster, api_namespace: str, tmp_path: Path) -> AsyncIterator[Stage]:
    address = urlsplit(api_cluster.url)
    assert address.hostname
    assert address.port
    async with wire_to(address.hostname, address.port) as wire:
        document = yaml.safe_load(api_cluster.kubeconfig.read_text())
        document["clusters"][0]["cluster"]["server"] = f"https://127.0.0.1:{wire.port}"
        kubeconfig = tmp_path / "kubeconfig"
        kubeconfig.write_text(yaml.safe_dump(document))
        async with Connections(find_access(api_cluster.kubeconfig), timeout_s=10) as way:
            stage = a_stage(Client(way), wire, kubeconfig, api_namespace)
            stage.watching.start()
            await asyncio.wait_for(stage.feed.synced.wait(), DEADLINE_S)
            yield stage
            wire.cut()
            await stage.watching.stop()


def a_stage(kube: Client, wire: Wire, kubeconfig: Path, namespace: str) -> Stage:
    store, kinds = LiveStore(), (CONFIG_MAP, GRAPH)
    changed = asyncio.Event()

    def note(_: Change) -> None:
        changed.set()

    feed = Feed(store, Queue(Nobody()), [], expected=kinds, on_change=note)
    restarts: list[float] = []
    watching = Watching(
        find_access(kubeconfig),
        Watched((*kinds, LEADER_WORKER_SET), namespace),  # the last is not served here
        feed,
        clock=time.monotonic,
        on_restart=lambda: restarts.append(time.monotonic()),
    )
    return Stage(kube, wire, feed, store, watching, namespace, restarts, changed)


async def test_changes_and_ends_are_seen(stage: Stage) -> None:
    live = await stage.kube.apply(a_map(stage.namespace, a="1"))
    await stage.until(lambda: stage.maps() == {"m": "1"})
    await stage.kube.apply(a_map(stage.namespace, a="2"))
    await stage.until(lambda: stage.maps() == {"m": "2"})
    await stage.kube.delete(live.ref, uid=live.uid)
    await stage.until(lambda: stage.maps() == {})
    assert stage.watching.failing_for_s() == 0


async def test_what_was_applied_is_read_from_the_watch(stage: Stage) -> None:
    live = await stage.kube.apply(a_graph(stage.namespace))
    await stage.until(lambda: stage.store.get(live.ref) is not None)
    assert stage.store.get(live.ref) == live


@pytest.mark.timeout(180, func_only=True)
async def test_fifty_cut_connections_lose_nothing(stage: Stage) -> None:
    live = await stage.kube.apply(a_map(stage.namespace, "gone", a="0"))
    await stage.until(lambda: "gone" in stage.maps())
    for number in range(50):
        stage.wire.cut()
        await stage.kube.apply(a_map(stage.namespace, a=str(number)))
        if number == 25:
            await stage.kube.delete(live.ref, uid=live.uid)
        if number % 10 == 9:
            await stage.until(lambda number=number: stage.maps().get("m") == str(number))  # type: ignore[misc]
    await stage.until(lambda: stage.maps() == {"m": "49"})
    assert stage.watching.failing_for_s() == 0


@pytest.mark.timeout(180, func_only=True)
async def test_streams_that_fall_silent_are_begun_anew(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """The connections stay open and answer on their level; only their silence tells."""
    frozen = stage.wire.freeze()
    assert frozen >= 2 * 2
    await stage.kube.apply(a_map(stage.namespace, a="behind the ice"))
    await stage.until(lambda: stage.maps() == {"m": "behind the ice"}, 30)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seconds instead of the minute between the API server's bookmarks."""
    monkeypatch.setattr(watching_module, "SILENCE_LIMIT_S", 3.0)


@pytest.fixture(autouse=True)
def nameless(monkeypatch: pytest.MonkeyPatch) -> None:
    """A container's numeric user, of whom the system knows no name."""

    def unknown() -> str:
        raise KeyError("getpwuid(): uid not found: 65532")

    monkeypatch.setattr(getpass, "getuser", unknown)


async def test_a_kind_that_is_not_served_holds_nobody_up(stage: Stage) -> None:
    kind: Kind = LEADER_WORKER_SET
    assert stage.feed.synced.is_set()
    assert stage.store.count(kind) == 0
    assert stage.restarts == []
