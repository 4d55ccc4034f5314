"""Fixtures that hand tests a cluster; each starts with the first test that asks and ends with the session."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest

from tests.cluster.choice import usable_cluster
from tests.cluster.errors import ClusterUnavailable
from tests.cluster.local import node
from tests.cluster.local.api_only import ApiCluster, check_built, check_possible, running_api_cluster
from tests.cluster.port import Cluster
from tests.cluster.settings import Settings, read_settings

_TEST_DEADLINE_S = 120


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """One worker has the cluster of pods, and every worker an API server of its own, which serves a module whole.

    A cluster's start does not count against a test's deadline.
    """
    for item in items:
        wanted = getattr(item, "fixturenames", ())
        if "cluster" in wanted:
            item.add_marker(pytest.mark.xdist_group("cluster"))
        elif "api_cluster" in wanted:
            item.add_marker(pytest.mark.xdist_group(f"api-{item.path.stem}"))
        else:
            continue
        if item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(_TEST_DEADLINE_S, func_only=True))


@pytest.fixture(scope="session")
def cluster_settings() -> Settings:
    return read_settings(os.environ)


@pytest.fixture(scope="session")
def api_programs(cluster_settings: Settings) -> Path:
    """The cache with the programs of which an API server is started; without them there is nothing to test with."""
    try:
        check_possible()
        check_built(cluster_settings.cache)
    except ClusterUnavailable as unavailable:
        _give_up(cluster_settings, unavailable)
    return cluster_settings.cache


@pytest.fixture(scope="session")
def api_cluster(api_programs: Path) -> Iterator[ApiCluster]:
    """An API server with our CRDs, without webhooks and nodes. Use a namespace of your own in it."""
    with running_api_cluster(api_programs) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def cluster(cluster_settings: Settings) -> Iterator[Cluster]:
    """A cluster whose pods run. One that runs already is used and left; one session at a time has the local one."""
    try:
        with usable_cluster(cluster_settings) as found:
            yield found
    except ClusterUnavailable as unavailable:
        _give_up(cluster_settings, unavailable)


@pytest.fixture
def node_programs(cluster_settings: Settings) -> None:
    """For what needs the programs of a local node, and none that runs."""
    try:
        node.check_possible()
    except ClusterUnavailable as unavailable:
        _give_up(cluster_settings, unavailable)


@pytest.fixture
def pod_namespace(cluster: Cluster) -> Iterator[str]:
    """A namespace for one test of pods."""
    with cluster.namespace() as name:
        yield name


@pytest.fixture
def api_namespace(api_cluster: ApiCluster) -> Iterator[str]:
    """A namespace for one test."""
    with api_cluster.namespace() as name:
        yield name


def _give_up(settings: Settings, unavailable: ClusterUnavailable) -> NoReturn:
    if settings.is_required:
        pytest.fail(str(unavailable))
    pytest.skip(str(unavailable))
