"""An API server with all that a graph can meet: our CRDs, webhooks and conversion, and its controllers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest

from dynamo_operator.kube import Client, Connections, Way, find_access
from tests.cluster.api.webhook.conftest import install
from tests.cluster.api.webhook.running import Facts, Running, running_server, settings
from tests.cluster.crds import Neighbour, neighbour_crds
from tests.cluster.local.api_only import ApiCluster, running_api_cluster
from tests.cluster.raw_http import raw_http
from tests.cluster.settings import Settings


@dataclass(frozen=True)
class WholeCluster:
    """`facts` are what its webhooks judge against."""

    access: ApiCluster
    facts: Facts
    running: Running


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """One worker owns the cluster; its start does not count against a test's deadline."""
    for item in items:
        if "whole_cluster" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.xdist_group("whole-cluster"))
            item.add_marker(pytest.mark.timeout(180, func_only=True))


@pytest.fixture(scope="module")
def grove_cluster(api_cluster: ApiCluster, cluster_settings: Settings) -> Iterator[ApiCluster]:
    """The API server, with Grove's kinds beside ours until these tests end: an operator would take their pathway."""
    crds = neighbour_crds(cluster_settings.cache, Neighbour.GROVE)
    api_cluster.install_crds(crds)
    yield api_cluster
    api_cluster.kubectl("delete", "crd", *(crd["metadata"]["name"] for crd in crds), timeout_s=300)


@pytest.fixture
async def http(api_cluster: ApiCluster) -> AsyncIterator[httpx2.AsyncClient]:
    """A client of the API server, with an administrator's rights."""
    async with raw_http(api_cluster.kubeconfig, timeout_s=10) as client:
        yield client


@pytest.fixture
async def way(api_cluster: ApiCluster) -> AsyncIterator[Way]:
    """The operator's own connections to the API server."""
    async with Connections(find_access(api_cluster.kubeconfig), timeout_s=10) as connections:
        yield connections


@pytest.fixture
def kube(way: Way) -> Client:
    """The operator's own client on the API server."""
    return Client(way)


@pytest.fixture(scope="session")
def whole_cluster(api_programs: Path) -> Iterator[WholeCluster]:
    facts = Facts()
    with (
        running_api_cluster(api_programs) as access,
        running_server(access, settings(crd_names=()), facts) as running,
    ):
        install(access, running)
        yield WholeCluster(access, facts, running)
