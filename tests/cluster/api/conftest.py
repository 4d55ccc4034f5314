"""An API server with all that a graph can meet: our CRDs, webhooks and conversion, and its controllers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.cluster.api.webhook.conftest import install
from tests.cluster.api.webhook.running import Facts, Running, running_server, settings
from tests.cluster.errors import ClusterUnavailable
from tests.cluster.local.api_only import ApiCluster, check_built, check_possible, running_api_cluster
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


@pytest.fixture(scope="session")
def whole_cluster(cluster_settings: Settings) -> Iterator[WholeCluster]:
    try:
        check_possible()
        check_built(cluster_settings.cache)
    except ClusterUnavailable as unavailable:
        if cluster_settings.is_required:
            pytest.fail(str(unavailable))
        pytest.skip(str(unavailable))
    facts = Facts()
    with (
        running_api_cluster(cluster_settings.cache) as access,
        running_server(access, settings(crd_names=()), facts) as running,
    ):
        install(access, running)
        yield WholeCluster(access, facts, running)
