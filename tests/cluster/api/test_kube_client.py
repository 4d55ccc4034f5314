"""The client on a real API server: the contract, and what no fake can show."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from dynamo_operator.kube import Client, Conflict, Deposed, Gone, Invalid, Kind, Packed, Ref, Way
from dynamo_operator.kube.objects import CONFIG_MAP, DEPLOYMENT, GRAPH, LEASE
from tests.cluster.local.api_only import ApiCluster
from tests.contract.kube import KubeContract, a_graph, a_map


@pytest.fixture
def namespace(api_namespace: str) -> str:
    return api_namespace


class TestClient(KubeContract):
    @pytest.fixture
    def place(self, api_cluster: ApiCluster) -> Callable[[dict[str, Any]], Awaitable[None]]:
        async def place(document: dict[str, Any]) -> None:
            api_cluster.apply(document)

        return place


async def test_a_refused_document_names_its_field(kube: Client, namespace: str) -> None:
    graph = a_graph(namespace)
    graph["spec"]["components"][0]["type"] = "nonsense"
    with pytest.raises(Invalid, match=r"spec\.components\[0\]\.type: Unsupported value"):
        await kube.apply(graph)


async def test_a_kind_that_is_not_served_is_gone(kube: Client) -> None:
    with pytest.raises(Gone):
        await kube.find(Kind("nowhere.example", "v1", "things", "Thing"))


async def test_a_missing_namespace_is_gone(kube: Client) -> None:
    with pytest.raises(Gone):
        await kube.apply(a_map("no-such-namespace", a="1"))


async def test_a_list_longer_than_a_page_is_whole(
    kube: Client, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dynamo_operator.kube.client.PAGE_SIZE", 2)
    for number in range(5):
        await kube.apply(a_map(namespace, f"m{number}", {"paged": "yes"}, a="1"))
    found = await kube.find(CONFIG_MAP, namespace, labels={"paged": "yes"})
    assert [live.ref.name for live in found] == [f"m{number}" for number in range(5)]


async def test_a_write_behind_a_fallen_fence_never_arrives(way: Way, namespace: str) -> None:
    def fallen() -> None:
        raise Deposed("another leads")

    free, fenced = Client(way), Client(way, fence=fallen)
    live = await free.apply(a_map(namespace, a="1"))
    for write in (
        fenced.apply(a_map(namespace, a="2")),
        fenced.patch(live.ref, [{"op": "replace", "path": "/data/a", "value": "3"}]),
        fenced.delete(live.ref, uid=live.uid),
        fenced.create(a_map(namespace, "other")),
    ):
        with pytest.raises(Deposed):
            await write
    after = await free.get(live.ref)
    assert after is not None
    assert after.resource_version == live.resource_version
    assert await free.get(Ref(CONFIG_MAP, namespace, "other")) is None


async def test_reads_pass_a_fallen_fence(way: Way, namespace: str) -> None:
    def fallen() -> None:
        raise Deposed("another leads")

    assert await Client(way, fence=fallen).get(Ref(CONFIG_MAP, namespace, "none")) is None


async def test_what_a_write_answered_is_told_at_once(way: Way, namespace: str) -> None:
    told: list[Packed] = []
    live = await Client(way, on_written=told.append).apply(a_map(namespace, a="1"))
    assert [(packed.ref, packed.version) for packed in told] == [(live.ref, int(live.resource_version))]


async def test_list_items_of_ours_are_recognised_by_their_keys(
    kube: Client, api_cluster: ApiCluster, namespace: str
) -> None:
    """Another manager's container and variables beside ours are no part of what we applied."""
    containers = [{"name": "main", "image": "dynamo/x:1.0.0", "env": [{"name": "OURS", "value": "1"}], "args": ["-v"]}]
    document: dict[str, Any] = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "d", "namespace": namespace},
        "spec": {
            "selector": {"matchLabels": {"app": "d"}},
            "template": {"metadata": {"labels": {"app": "d"}}, "spec": {"containers": containers}},
        },
    }
    await kube.apply(document)
    api_cluster.kubectl("set", "env", "deployment/d", "THEIRS=2", "-n", namespace)
    live = await kube.get(Ref(DEPLOYMENT, namespace, "d"))
    assert live is not None
    seen = live.document["spec"]["template"]["spec"]["containers"][0]["env"]
    assert {variable["name"] for variable in seen} == {"OURS", "THEIRS"}
    assert live.applied == {"spec": document["spec"]}


async def test_discovery_names_what_is_served(kube: Client) -> None:
    served = await kube.served()
    assert {(kind.api_version, kind.name) for kind in (GRAPH, DEPLOYMENT, LEASE, CONFIG_MAP)} <= served


async def test_creating_what_exists_is_a_conflict(kube: Client, namespace: str) -> None:
    await kube.create(a_map(namespace, a="1"))
    with pytest.raises(Conflict):
        await kube.create(a_map(namespace, a="1"))
