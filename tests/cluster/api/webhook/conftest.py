"""An API server with our CRDs and webhooks, all answered by one webhook server in this process."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from dynamo_operator.webhook import conversion_stanza, webhook_configurations
from tests.cluster.access import Access
from tests.cluster.api.webhook.running import Facts, Running, running_server, settings
from tests.cluster.crds import own_crds
from tests.cluster.local.api_only import running_api_cluster

_HERE = Path(__file__).parent


@dataclass(frozen=True)
class Guarded:
    """A cluster whose nvidia.com writes go through `running`."""

    cluster: Access
    running: Running
    facts: Facts


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """One worker owns the cluster; its start does not count against a test's deadline."""
    for item in items:
        if _HERE in item.path.parents:
            item.add_marker(pytest.mark.xdist_group("webhooks"))
            item.add_marker(pytest.mark.timeout(120, func_only=True))


@pytest.fixture(scope="package")
def bare_cluster(api_programs: Path) -> Iterator[Access]:
    """An API server that has our CRDs and sends nothing to webhooks yet."""
    with running_api_cluster(api_programs, controllers=False) as cluster:
        yield cluster


@pytest.fixture(scope="package")
def guarded(bare_cluster: Access) -> Iterator[Guarded]:
    """The same with its webhooks and conversion answered."""
    facts = Facts()
    with running_server(bare_cluster, settings(crd_names=()), facts) as running:
        install(bare_cluster, running)
        yield Guarded(bare_cluster, running, facts)


@pytest.fixture
def namespace(guarded: Guarded) -> Iterator[str]:
    with guarded.cluster.namespace() as name:
        yield name


def install(cluster: Access, running: Running) -> None:
    """Points the API server's webhooks and conversion at a running server."""
    cluster.install_crds(own_crds(conversion_stanza(running.reach)))
    documents: tuple[dict[str, Any], ...] = webhook_configurations(running.reach)
    cluster.apply(*documents)
