"""The operator on a cluster that runs pods: installed once for the session by the chart, removed after it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.commands import step
from tests.cluster.existing import ExistingCluster
from tests.cluster.local.binaries import HELM, ensure
from tests.cluster.local.cluster import LocalCluster
from tests.cluster.local.images.recipes import RUNTIME
from tests.cluster.pods.graphs import RUNTIME_NAME, Graph
from tests.cluster.pods.order import ORDER
from tests.cluster.pods.release import NAMESPACE, RELEASE, Release
from tests.cluster.port import Cluster
from tests.cluster.settings import Settings


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    places = [place for place, item in enumerate(items) if item.path.parent == here]
    ordered = sorted((items[place] for place in places), key=_turn)
    for place, item in zip(places, ordered, strict=True):
        items[place] = item


def _turn(item: pytest.Item) -> int:
    return ORDER.index(item.path.stem)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """What tests measured, whether they passed or not."""
    reports = [report for outcome in ("passed", "failed") for report in terminalreporter.stats.get(outcome, ())]
    lines = [value for report in reports for key, value in report.user_properties if key == "load"]
    if lines:
        terminalreporter.section("measured on pods")
    for what, figures in lines:
        terminalreporter.write_line(f"{what:30} {figures}")


@pytest.fixture(scope="session")
def release(cluster: Cluster, cluster_settings: Settings) -> Iterator[Release]:
    """The cluster-wide operator, ready."""
    release = Release(cluster, ensure(cluster_settings.cache, HELM) / "helm")
    if isinstance(cluster, ExistingCluster) and release.is_installed():
        pytest.skip(f"{RELEASE} is installed in {NAMESPACE} already, and these tests would take it away")
    release.uninstall()  # What an interrupted session left.
    if isinstance(cluster, LocalCluster):
        # Before the operator: it looks once, at its start, for what the cluster serves.
        with step("installing LeaderWorkerSet"):
            cluster.install_leaderworkerset()
        release = replace(release, audited_from=cluster.audit.mark())
    with step("helm install --wait"):
        release.install()
    yield release
    release.uninstall()


@pytest.fixture(scope="session")
def runtime(cluster: Cluster) -> str:
    """The data plane's image under the name that the examples use."""
    cluster.load_image(RUNTIME, RUNTIME_NAME)
    return RUNTIME_NAME


@pytest.fixture(scope="session")
def groups(cluster: Cluster, release: Release) -> None:
    """LeaderWorkerSet's controller runs."""
    if not isinstance(cluster, LocalCluster):
        pytest.skip("LeaderWorkerSet's image is built for the local cluster")


@pytest.fixture
def graph_namespace(release: Release, runtime: str, pod_namespace: str) -> str:
    """A namespace for one test's graphs, which an operator serves."""
    return pod_namespace


@pytest.fixture
def agg_router(cluster: Cluster, graph_namespace: str) -> Graph:
    return Graph(cluster, graph_namespace, "agg-router")
