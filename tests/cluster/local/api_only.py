"""A cluster without nodes: etcd, the API server and its controllers, on free ports, in a folder of its own.

For everything that needs no running pod. Several may run at once. Nothing of the machine is touched beside the folder,
so no root is needed. Called by the `api_cluster` fixture and by `python -m tests.cluster api-up`.
"""

from __future__ import annotations

import contextlib
import shutil
import socket
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.access import Access
from tests.cluster.audit import AuditLog
from tests.cluster.errors import ClusterError, ClusterUnavailable
from tests.cluster.fake_nodes import start_fake_nodes
from tests.cluster.local.binaries import KUBERNETES, ensure, is_built
from tests.cluster.local.control_plane import (
    Ports,
    Site,
    start_api_server,
    start_controllers,
    start_scheduler,
    stop_control_plane,
)
from tests.cluster.local.processes import Processes

_PREFIX = "dynamo-api-"
_START_ATTEMPTS = 3  # A free port may be taken by another process before it is ours.


@dataclass(frozen=True)
class ApiCluster(Access):
    """A running API server with our CRDs installed; no webhook, no node."""

    audit: AuditLog
    site: Site
    cache: Path
    is_leashed: bool  # Ends with the process that started it.

    def calls_by_user(self, since: int = 0) -> dict[str, int]:
        """How often each user called the API server since a mark of the audit log."""
        return dict(self.audit.calls_by_user(since))

    def add_fake_nodes(self, count: int) -> None:
        """Nodes that only pretend, and the scheduler that pods need to get there."""
        start_scheduler(self.site, self._processes)
        start_fake_nodes(self, self.cache, self._processes, count)

    @property
    def folder(self) -> Path:
        """Certificates, logs and data; gone when the cluster is."""
        return self.site.folder

    @property
    def _processes(self) -> Processes:
        return Processes(self.site.folder, die_with_us=self.is_leashed)


@contextlib.contextmanager
def running_api_cluster(cache: Path, *, controllers: bool = True, with_crds: bool = True) -> Iterator[ApiCluster]:
    """Runs an API-only cluster that ends with this block, or with this process, and leaves nothing."""
    sweep(Path(tempfile.gettempdir()))
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
    try:
        yield start_api_cluster(cache, folder, controllers=controllers, with_crds=with_crds, die_with_us=True)
    finally:
        stop_api_cluster(folder)


def start_api_cluster(
    cache: Path, folder: Path, *, controllers: bool = True, with_crds: bool = True, die_with_us: bool = False
) -> ApiCluster:
    check_possible()
    programs = ensure(cache, KUBERNETES)
    processes = Processes(folder, die_with_us=die_with_us)
    site = _start_on_free_ports(folder, programs, processes)
    kubectl = str(programs / "kubectl")
    cluster = ApiCluster(site.kubeconfig, kubectl, AuditLog(site.audit_log), site, cache, die_with_us)
    if with_crds:
        cluster.install_crds()
    if controllers:
        start_controllers(site, processes)
    return cluster


def stop_api_cluster(folder: Path) -> None:
    """Stops what the folder records and removes the folder; nothing to do is fine."""
    processes = Processes(folder, die_with_us=False)
    processes.stop("kwok")
    stop_control_plane(processes)
    shutil.rmtree(folder, ignore_errors=True)


def _start_on_free_ports(folder: Path, programs: Path, processes: Processes) -> Site:
    for attempt in range(_START_ATTEMPTS):
        site = Site(folder, programs, Ports(*_free_ports(3)))
        try:
            start_api_server(site, processes)
        except ClusterError:
            stop_control_plane(processes)
            shutil.rmtree(folder / "certificates", ignore_errors=True)
            if attempt == _START_ATTEMPTS - 1:
                raise
        else:
            return site
    raise AssertionError("the last attempt returns or raises")


def sweep(temporary: Path) -> None:
    """Removes the folders of clusters whose test session was killed; their processes ended with it."""
    for folder in temporary.glob(f"{_PREFIX}*"):
        processes = Processes(folder, die_with_us=False)
        if processes.names() and processes.names() == processes.ended():
            shutil.rmtree(folder, ignore_errors=True)


def check_possible() -> None:
    if sys.platform != "linux":
        raise ClusterUnavailable(
            f"the local API server runs on Linux, this is {sys.platform}; give DYNAMO_CLUSTER_KUBECONFIG"
        )


def check_built(cache: Path) -> None:
    if not is_built(cache, KUBERNETES):
        raise ClusterUnavailable("the API server is not built yet (five minutes, once): make cluster-binaries")


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [int(each.getsockname()[1]) for each in sockets]
