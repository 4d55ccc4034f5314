"""An API server with all that a graph can meet: our CRDs, webhooks and conversion, and its controllers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.cluster.api.webhook.conftest import install
from tests.cluster.api.webhook.running import Facts, Running, running_server, settings
from tests.cluster.local.api_only import ApiCluster, running_api_cluster


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
def whole_cluster(api_programs: Path) -> Iterator[WholeCluster]:
    facts = Facts()
    with (
        running_api_cluster(api_programs) as access,
        running_server(access, settings(crd_names=()), facts) as running,
    ):
        install(access, running)
        yield WholeCluster(access, facts, running)
