"""What discovery makes of a real API server's objects: readiness, addresses, labels, rights, and its absence."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from dynamo.discovery import DiscoveryError
from dynamo.discovery.cluster import api
from dynamo.discovery.cluster.api import connector
from dynamo.discovery.cluster.discovery import ClusterDiscovery
from dynamo.discovery.cluster.registry import ClusterRegistry
from dynamo.wire.cards import WorkerCard
from tests.cluster.api.discovery_stage import QUICK, DiscoveryStage
from tests.cluster.api.valve import Valve
from tests.cluster.local.api_only import ApiCluster
from tests.contract.test_discovery import a_card

DEADLINE_S = 15.0
Cards = tuple[WorkerCard, ...]


@pytest.fixture
def stage(api_cluster: ApiCluster, api_namespace: str) -> DiscoveryStage:
    return DiscoveryStage(api_cluster, api_namespace)


class Follower:
    """Keeps the newest item of a watch."""

    def __init__(self, discovery: ClusterDiscovery) -> None:
        self.discovery = discovery
        self.cards: Cards | None = None

    async def run(self) -> None:
        async with aclosing(self.discovery.watch()) as watch:
            async for cards in watch:
                self.cards = cards

    async def until(self, claim: Callable[[Cards], bool]) -> Cards:
        await self.holds(lambda: self.cards is not None and claim(self.cards))
        assert self.cards is not None
        return self.cards

    async def holds(self, claim: Callable[[], bool]) -> None:
        try:
            async with asyncio.timeout(DEADLINE_S):
                while not claim():  # noqa: ASYNC110  # the state is another process's
                    await asyncio.sleep(0.02)
        except TimeoutError as error:
            raise AssertionError(f"still {self.cards}, problems {self.discovery.problems}") from error


@contextlib.asynccontextmanager
async def following(discovery: ClusterDiscovery) -> AsyncIterator[Follower]:
    follower = Follower(discovery)
    task = asyncio.create_task(follower.run())
    try:
        yield follower
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@contextlib.asynccontextmanager
async def announced(registry: ClusterRegistry, *cards: WorkerCard) -> AsyncIterator[None]:
    for card in cards:
        await registry.publish(card)
    try:
        yield
    finally:
        for card in cards:
            with contextlib.suppress(DiscoveryError):
                await registry.withdraw(card.worker_id)


async def test_announcement_has_upstreams_form_and_goes_with_its_pod(stage: DiscoveryStage) -> None:
    pod = await asyncio.to_thread(stage.add_pod)
    card = a_card(0xABC, context_length=4096, total_kv_blocks=100, max_num_seqs=8, max_num_batched_tokens=2048)
    async with announced(stage.registry(pod), card):
        found = await asyncio.to_thread(stage.announcement)
        assert found is not None
        data = found["spec"]["data"]
        key = "default-agg/backend/generate/abc"
        assert data["endpoints"][key]["instance_id"] == 0xABC
        document = data["model_cards"][key]["card_json"]
        assert (document["display_name"], document["worker_type"]) == ("tiny", "aggregated")
        assert (document["kv_cache_block_size"], document["architectural_max_context_length"]) == (16, 4096)
        assert document["runtime_config"]["total_kv_blocks"] == 100
        assert [owner["uid"] for owner in found["metadata"]["ownerReferences"]] == [pod.uid]
        shown = ["get", "dwm", "w", "-n", stage.namespace, "--show-managed-fields", "-o", "json"]
        managers = json.loads(await asyncio.to_thread(stage.access.kubectl, *shown))["metadata"]["managedFields"]
        assert [one["manager"] for one in managers] == ["dynamo-worker"]
        delete = ["delete", "pod", "w", "-n", stage.namespace, "--grace-period=0", "--force"]
        await asyncio.to_thread(stage.access.kubectl, *delete)
        wait = ["wait", "--for=delete", "dynamoworkermetadatas/w", "-n", stage.namespace, "--timeout=30s"]
        await asyncio.to_thread(stage.access.kubectl, *wait)


async def test_worker_is_there_only_while_its_pod_is_ready(stage: DiscoveryStage) -> None:
    pod = await asyncio.to_thread(stage.add_pod)
    await asyncio.to_thread(stage.set_slice, pod, is_ready=False)
    async with announced(stage.registry(pod), a_card()), following(stage.discovery()) as follower:
        await follower.until(lambda cards: cards == ())
        assert follower.discovery.problems == ("announced but not ready: w",)
        await asyncio.to_thread(stage.set_slice, pod)
        await follower.until(lambda cards: cards == (a_card(),))
        assert follower.discovery.problems == ()
        await asyncio.to_thread(stage.set_slice, pod, is_ready=False)
        await follower.until(lambda cards: cards == ())


async def test_address_that_changes_without_a_readiness_dip_is_followed(stage: DiscoveryStage) -> None:
    pod = await asyncio.to_thread(stage.add_pod)
    await asyncio.to_thread(stage.set_slice, pod)
    registry = stage.registry(pod)
    async with announced(registry, a_card()), following(stage.discovery()) as follower:
        await follower.until(lambda cards: cards == (a_card(),))
        await asyncio.to_thread(stage.set_slice, pod, "10.1.0.9")
        moved = a_card(address="http://10.1.0.9:1", system_address="http://10.1.0.9:2")
        await follower.until(lambda cards: cards == (moved,))
        newest = a_card(address="http://10.1.0.9:3", system_address="http://10.1.0.9:4")
        await registry.publish(newest)
        await follower.until(lambda cards: cards == (newest,))


async def test_announcement_of_an_earlier_pod_of_the_same_name_is_not_the_new_ones(stage: DiscoveryStage) -> None:
    pod = await asyncio.to_thread(stage.add_pod)
    await asyncio.to_thread(stage.set_slice, pod, uid="00000000-0000-4000-8000-000000000000")
    async with announced(stage.registry(pod), a_card()), following(stage.discovery()) as follower:
        await follower.until(lambda cards: cards == ())
        await asyncio.to_thread(stage.set_slice, pod)
        await follower.until(lambda cards: cards == (a_card(),))


async def test_missing_labels_are_explained(stage: DiscoveryStage) -> None:
    pod = await asyncio.to_thread(stage.add_pod)
    await asyncio.to_thread(stage.set_slice, pod, labels={})
    async with announced(stage.registry(pod), a_card()), following(stage.discovery()) as follower:
        await follower.until(lambda cards: cards == ())
        assert any("nvidia.com/dynamo-discovery-backend=kubernetes" in one for one in follower.discovery.problems)


async def test_containers_of_a_pod_are_workers_of_their_own(stage: DiscoveryStage) -> None:
    pod = await asyncio.to_thread(stage.add_pod)
    first, second = replace(pod, container="main"), replace(pod, container="second")
    await asyncio.to_thread(stage.set_containers, pod, {"main": True, "second": False})
    async with (
        announced(stage.registry(first), a_card(1)),
        announced(stage.registry(second), a_card(2)),
        following(stage.discovery("container")) as follower,
    ):
        await follower.until(lambda cards: cards == (a_card(1),))
        await asyncio.to_thread(stage.set_containers, pod, {"main": True, "second": True})
        await follower.until(lambda cards: cards == (a_card(1), a_card(2)))
        names = {item["metadata"]["name"] for item in stage.access.get("dwm", "-n", stage.namespace)["items"]}
    assert names == {"w-main", "w-second"}


async def test_removed_announcement_is_written_again_by_the_heartbeat(stage: DiscoveryStage) -> None:
    pod = await asyncio.to_thread(stage.add_pod)
    await asyncio.to_thread(stage.set_slice, pod)
    registry = stage.registry(pod)
    async with announced(registry, a_card()), following(stage.discovery()) as follower:
        await follower.until(lambda cards: cards == (a_card(),))
        await asyncio.to_thread(stage.access.kubectl, "delete", "dwm", "w", "-n", stage.namespace)
        await follower.until(lambda cards: cards == ())
        async with asyncio.timeout(DEADLINE_S):
            while follower.cards != (a_card(),):
                await registry.publish(a_card())
                await asyncio.sleep(0.05)


async def test_heartbeats_ask_the_api_server_nothing(
    stage: DiscoveryStage, tmp_path: Path, api_cluster: ApiCluster
) -> None:
    pod = await asyncio.to_thread(stage.add_pod)
    env = await asyncio.to_thread(restricted, stage, tmp_path, ["create", "patch", "delete", "list", "watch"])
    user = f"system:serviceaccount:{stage.namespace}:few"
    registry = ClusterRegistry(connector(env)[0], pod, QUICK)
    async with announced(registry, a_card()):
        async with asyncio.timeout(DEADLINE_S):
            while not api_cluster.audit.calls_by_verb(user)["watch", "dynamoworkermetadatas"]:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        for _ in range(50):
            await registry.publish(a_card())
        calls = api_cluster.audit.calls_by_verb(user)
    assert calls["patch", "dynamoworkermetadatas"] == 1


def restricted(stage: DiscoveryStage, folder: Path, verbs: list[str]) -> dict[str, str]:
    """Environment of a process whose service account may do just that with announcements."""
    rule = {"apiGroups": ["nvidia.com"], "resources": ["dynamoworkermetadatas"], "verbs": verbs}
    name = {"metadata": {"name": "few"}}
    role: dict[str, Any] = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", **name, "rules": [rule]}
    subject = {"kind": "ServiceAccount", "name": "few", "namespace": stage.namespace}
    binding = {
        **{"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", **name},
        "subjects": [subject],
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "few"},
    }
    account = {"apiVersion": "v1", "kind": "ServiceAccount", **name}
    stage.access.apply(account, role, binding, namespace=stage.namespace)
    token = stage.access.kubectl("create", "token", "few", "-n", stage.namespace).strip()
    document = yaml.safe_load(stage.access.kubeconfig.read_text())
    document["users"][0]["user"] = {"token": token}
    (folder / "few.yaml").write_text(json.dumps(document))
    return {"KUBECONFIG": str(folder / "few.yaml")}


async def test_missing_right_to_write_is_named_before_anything_starts(stage: DiscoveryStage, tmp_path: Path) -> None:
    pod = await asyncio.to_thread(stage.add_pod)
    env = await asyncio.to_thread(restricted, stage, tmp_path, ["get"])
    registry = ClusterRegistry(connector(env)[0], pod, QUICK, rights_grace_s=0.2)
    with pytest.raises(DiscoveryError, match=r"cannot patch resource \"dynamoworkermetadatas\".*needs create, patch"):
        await registry.check()
    assert await asyncio.to_thread(stage.announcement) is None


async def test_missing_right_to_watch_is_said_once_and_explained(
    stage: DiscoveryStage, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    env = await asyncio.to_thread(restricted, stage, tmp_path, ["get", "list", "watch"])
    async with following(ClusterDiscovery(connector(env)[0], stage.namespace, pace=QUICK)) as follower:
        await follower.holds(lambda: any("endpointslices" in one for one in follower.discovery.problems))
        await asyncio.sleep(1)
        assert follower.cards is None, "who cannot look has seen nobody"
    said = [
        record.getMessage() for record in caplog.records if "EndpointSlices cannot be watched" in record.getMessage()
    ]
    assert len(said) == 1
    assert 'cannot list resource "endpointslices"' in said[0]
    assert "needs get, list, watch on endpointslices" in said[0]


async def test_view_outlives_the_api_server_and_catches_up(stage: DiscoveryStage, tmp_path: Path) -> None:
    pod = await asyncio.to_thread(stage.add_pod)
    await asyncio.to_thread(stage.set_slice, pod)
    async with Valve.before(stage.access, tmp_path) as valve, announced(stage.registry(pod), a_card()):
        discovery = ClusterDiscovery(connector(valve.env)[0], stage.namespace, pace=QUICK)
        async with following(discovery) as follower:
            await follower.until(lambda cards: cards == (a_card(),))
            valve.shut()
            await follower.holds(lambda: any("what was known stays in use" in one for one in discovery.problems))
            await asyncio.to_thread(stage.set_slice, pod, "10.1.0.9")
            assert follower.cards == (a_card(),)
            valve.open()
            await follower.until(lambda cards: cards[0].address == "http://10.1.0.9:1")
            await follower.holds(lambda: discovery.problems == ())


async def test_connection_that_died_silently_is_noticed(stage: DiscoveryStage, tmp_path: Path) -> None:
    pod = await asyncio.to_thread(stage.add_pod)
    await asyncio.to_thread(stage.set_slice, pod)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(api, "WATCH_SLACK_S", -3.0)
        async with Valve.before(stage.access, tmp_path) as valve, announced(stage.registry(pod), a_card()):
            discovery = ClusterDiscovery(connector(valve.env)[0], stage.namespace, pace=QUICK)
            async with following(discovery) as follower:
                await follower.until(lambda cards: cards == (a_card(),))
                valve.stall()
                await asyncio.to_thread(stage.set_slice, pod, "10.1.0.9")
                await follower.until(lambda cards: cards[0].address == "http://10.1.0.9:1")


async def test_worker_announces_itself_once_the_api_server_is_back(stage: DiscoveryStage, tmp_path: Path) -> None:
    pod = await asyncio.to_thread(stage.add_pod)
    async with Valve.before(stage.access, tmp_path) as valve:
        valve.shut()
        registry = ClusterRegistry(connector(valve.env)[0], pod, QUICK)
        await registry.check()
        async with announced(registry, a_card()):
            assert await asyncio.to_thread(stage.announcement) is None
            valve.open()
            async with asyncio.timeout(DEADLINE_S):
                while await asyncio.to_thread(stage.announcement) is None:
                    await registry.publish(a_card())
