"""Which of the three ways gives the tests their cluster.

A kubeconfig that the environment names wins, then a kind cluster that was made, then the local cluster.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from tests.cluster.commands import held
from tests.cluster.existing import existing_cluster
from tests.cluster.kind.cluster import kind_kubeconfig, running_kind
from tests.cluster.local import cluster as local
from tests.cluster.local.node import check_possible
from tests.cluster.port import Cluster
from tests.cluster.settings import Settings


@contextlib.contextmanager
def usable_cluster(settings: Settings) -> Iterator[Cluster]:
    """A cluster for one test session; what was started for it is stopped after it."""
    if settings.kubeconfig:
        yield existing_cluster(settings.kubeconfig)
    elif kind_kubeconfig(settings.cache).exists():
        yield running_kind(settings.cache)
    else:
        with _local(settings) as found:
            yield found


@contextlib.contextmanager
def _local(settings: Settings) -> Iterator[Cluster]:
    check_possible()
    with held(settings.cache / "node" / "session.lock", shows="another test session uses the cluster"):
        was_running = local.is_running(settings.cache)
        try:
            yield local.up(settings.cache)
        finally:
            if not was_running:
                local.down(settings.cache)
