"""The discovery suite against a real API server."""

from __future__ import annotations

import asyncio

import pytest

from dynamo.worker.ports import Registry
from tests.cluster.api.discovery_stage import DiscoveryStage
from tests.cluster.local.api_only import ApiCluster
from tests.contract.test_discovery import *  # noqa: F403  # the suite
from tests.contract.test_discovery import Watchable


@pytest.fixture
async def plane(api_cluster: ApiCluster, api_namespace: str) -> tuple[Registry, Watchable]:
    """Overrides the suite's own: workers of one ready pod."""
    stage = DiscoveryStage(api_cluster, api_namespace)
    pod = await asyncio.to_thread(stage.add_pod)
    await asyncio.to_thread(stage.set_slice, pod)
    return stage.registry(pod), stage.discovery()
