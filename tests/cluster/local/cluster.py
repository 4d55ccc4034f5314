"""The whole local cluster: one machine, one node, real pods.

`up` and `down` may be run any number of times and after any crash; one lock lets only one of them work at a time.
Called by the `cluster` fixture and by `make cluster-up`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.access import Access
from tests.cluster.audit import AuditLog
from tests.cluster.commands import held, say, step, wait_until
from tests.cluster.errors import ClusterError
from tests.cluster.fake_nodes import start_fake_nodes
from tests.cluster.leaderworkerset import install_leaderworkerset
from tests.cluster.local import dns, node_config
from tests.cluster.local.binaries import KUBERNETES, ensure, folder_of
from tests.cluster.local.control_plane import (
    Ports,
    Site,
    is_ready,
    start_api_server,
    start_controllers,
    start_scheduler,
    stop_control_plane,
)
from tests.cluster.local.images import recipes
from tests.cluster.local.images.build import Builder, Built
from tests.cluster.local.images.recipes import Image
from tests.cluster.local.node import Node, check_free_ports, check_possible
from tests.cluster.local.node_config import NODE, NodeFolders
from tests.cluster.local.processes import Processes

GPUS = 64  # Extended resources need no device plugin: manifests with GPU limits schedule.
_NODE_DEADLINE_S = 60.0


@dataclass(frozen=True)
class LocalCluster(Access):
    """The running local cluster."""

    cache: Path
    machine: Node
    audit: AuditLog
    node: str = NODE

    def load_image(self, image: Image, *names: str) -> None:
        """Gives one of the images that came with the cluster further names."""
        for name in names:
            self.machine.tag(image.reference, name)

    def add_fake_nodes(self, count: int) -> None:
        """Nodes that only pretend; cordon the real one to keep pods from it."""
        start_fake_nodes(self, self.cache, self.machine.processes, count)

    def install_leaderworkerset(self) -> None:
        install_leaderworkerset(self, self.cache)


def up(cache: Path) -> LocalCluster:
    """Starts what doesn't run, loads what changed; returns when pods can run and find each other by name."""
    check_possible()
    with held(_lock(cache), shows="another process starts or stops the cluster"):
        programs = ensure(cache, KUBERNETES)
        images = Builder(cache).all()
        site, node = _parts(cache, programs)
        cluster = LocalCluster(site.kubeconfig, str(programs / "kubectl"), cache, node, AuditLog(site.audit_log))
        if not is_running(cache):
            _clean(node)
            check_free_ports()
            with step("starting the cluster"):
                _boot(cluster, site, images)
        else:
            for built in images:
                node.load(built)
        say(f"Cluster: running\n  export KUBECONFIG={site.kubeconfig}")
        return cluster


def down(cache: Path) -> None:
    """Stops the cluster and removes everything it left; images and programs stay in the cache."""
    with held(_lock(cache), shows="another process starts or stops the cluster"), step("stopping the cluster"):
        _, node = _parts(cache, folder_of(cache, KUBERNETES))
        _clean(node)


def is_running(cache: Path) -> bool:
    """Whether every program of the cluster runs and its API server answers."""
    site, node = _parts(cache, folder_of(cache, KUBERNETES))
    names = node.processes.names()
    return bool(names) and not node.processes.ended() and "kubelet" in names and is_ready(site)


def _boot(cluster: LocalCluster, site: Site, images: list[Built]) -> None:
    node = cluster.machine
    node.start_network()
    start_api_server(site, node.processes)
    start_controllers(site, node.processes)
    start_scheduler(site, node.processes)
    node.start_containerd(recipes.PAUSE.reference)
    for built in images:
        node.load(built)
    node.start_kubelet()
    tails = lambda: node.processes.tails("kubelet", "containerd")  # noqa: E731
    wait_until(lambda: _has_node(cluster), "the node registers", deadline_s=_NODE_DEADLINE_S, explain=tails)
    gpus = {"status": {"capacity": {"nvidia.com/gpu": str(GPUS)}, "allocatable": {"nvidia.com/gpu": str(GPUS)}}}
    cluster.kubectl("patch", "node", NODE, "--subresource=status", "--patch", json.dumps(gpus))
    cluster.apply(*dns.dns_documents())
    cluster.kubectl("wait", "--for=condition=Ready", f"node/{NODE}", "--timeout=60s")
    cluster.kubectl("rollout", "status", f"deployment/{dns.NAME}", "-n", dns.NAMESPACE, "--timeout=60s")


def _clean(node: Node) -> None:
    """Pods end first, while there is somebody to end them; the API server outlives nothing that talks to it."""
    node.processes.stop("kwok")
    node.stop_pods()
    stop_control_plane(node.processes)
    node.stop_machinery()


def _has_node(cluster: LocalCluster) -> bool:
    try:
        cluster.kubectl("get", "node", NODE)
    except ClusterError:
        return False
    return True


def _parts(cache: Path, programs: Path) -> tuple[Site, Node]:
    folders = NodeFolders(state=cache / "node" / "state", images=cache / "node" / "images")
    ports = Ports(node_config.API_PORT, node_config.ETCD_PORT, node_config.ETCD_PEER_PORT)
    site = Site(folders.state, programs, ports, address=node_config.ADDRESS, node=NODE)
    processes = Processes(folders.state, die_with_us=False)
    return site, Node(folders, programs, folders.state / "certificates", processes)


def _lock(cache: Path) -> Path:
    return cache / "node" / "lock"
