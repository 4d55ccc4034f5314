"""Boots and stops the one node: bridge, containerd, kubelet, kube-proxy.

Order matters at the seams: containerd's CRI plugin answers before the kubelet starts, or the kubelet exits at once;
pods end before containerd does, or nobody can end them. Called by the local cluster.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.cluster.commands import plain_environment, run, say, succeeds, wait_until
from tests.cluster.errors import ClusterError, ClusterUnavailable
from tests.cluster.local import leftovers, node_config
from tests.cluster.local.images.build import Built
from tests.cluster.local.images.recipes import full_name
from tests.cluster.local.node_config import ADDRESS, BRIDGE, CNI_PROGRAMS, NodeFolders
from tests.cluster.local.processes import Processes

PROGRAMS_OF_SYSTEM = ("containerd", "ctr", "runc", "iptables", "conntrack", "ip", "debootstrap", "buildah", "gcc")
_CONTAINERD_DEADLINE_S = 30.0
# Kernel switches for packets between pods, services and the outside.
_SWITCHES = ("net/ipv4/ip_forward", "net/bridge/bridge-nf-call-iptables")
# Those that the kubelet and kube-proxy set on their own; the record keeps what they all were before.
_SET_BY_PROGRAMS = (
    "vm/overcommit_memory",
    "vm/panic_on_oom",
    "kernel/panic",
    "kernel/panic_on_oops",
    "kernel/keys/root_maxkeys",
    "kernel/keys/root_maxbytes",
    "net/ipv4/conf/all/route_localnet",
)


@dataclass(frozen=True, slots=True)
class Node:
    """The node's folders and processes; all else that it owns is found on the machine."""

    folders: NodeFolders
    programs: Path
    certificates: Path
    processes: Processes

    def start_network(self) -> None:
        """The bridge comes first: its address is the API server's."""
        if not Path(f"/sys/class/net/{BRIDGE}").exists():
            self._remember_machine()
            run(["ip", "link", "add", BRIDGE, "type", "bridge"])
            run(["ip", "address", "add", f"{ADDRESS}/24", "dev", BRIDGE])
            run(["ip", "link", "set", BRIDGE, "up"])
        for switch in _SWITCHES:
            path = Path("/proc/sys") / switch
            if not path.exists():
                succeeds(["modprobe", "br_netfilter"])
            path.write_text("1")

    def start_containerd(self, sandbox_image: str) -> None:
        state = self.folders.state
        (state / "cni").mkdir(parents=True, exist_ok=True)
        self.folders.images.mkdir(parents=True, exist_ok=True)
        config = state / "containerd.toml"
        config.write_text(node_config.containerd_config(self.folders, sandbox_image))
        (state / "cni" / "10-bridge.conflist").write_text(node_config.cni_config(self.folders))
        self.processes.start("containerd", ["containerd", "--config", config], plain_environment())
        what = "containerd's CRI plugin answers"
        deadline_s = _CONTAINERD_DEADLINE_S
        wait_until(self._has_cri, what, deadline_s=deadline_s, explain=lambda: self.processes.tails("containerd"))

    def start_kubelet(self) -> None:
        """The kubelet and kube-proxy; the node registers itself."""
        state = self.folders.state
        (state / "kubelet.yaml").write_text(yaml.safe_dump(node_config.kubelet_config(self.folders, self.certificates)))
        (state / "proxy.yaml").write_text(
            yaml.safe_dump(node_config.proxy_config(self.certificates / "proxy.kubeconfig"))
        )
        env = plain_environment()
        kubelet = node_config.kubelet_command(self.programs, self.folders, self.certificates)
        self.processes.start("kubelet", kubelet, env)
        self.processes.start("kube-proxy", [self.programs / "kube-proxy", f"--config={state / 'proxy.yaml'}"], env)

    def load(self, built: Built) -> None:
        """Makes an image known to containerd, unless this very one is."""
        keyed = built.image.keyed_reference(built.key)
        known = self._ctr("images", "list", "--quiet").split()
        if keyed in known:
            return
        say(f"  loading image {built.image.reference}")
        self._ctr("images", "import", str(built.archive))
        for old in known:
            if old.startswith(built.image.keyed_reference("")) and old != built.image.reference:
                self._ctr("images", "remove", old)
        self.tag(built.image.reference, keyed)

    def tag(self, reference: str, name: str) -> None:
        self._ctr("images", "tag", "--force", full_name(reference), full_name(name))

    def stop_pods(self) -> None:
        """Stops the programs that would start pods, then ends the pods."""
        self.processes.stop("kube-proxy")
        self.processes.stop("kubelet")
        if self._has_cri():
            self._end_pods()

    def stop_machinery(self) -> None:
        """Stops containerd and removes what the node left on the machine; safe to run again, and after a crash."""
        self.processes.stop("containerd")
        leftovers.remove_shims(self.folders.socket)
        record = self._machine_before()
        if record is not None:
            leftovers.remove_control_groups(set(record["control_groups"]))
            leftovers.remove_mounts([self.folders.state, self.folders.images])
            leftovers.remove_network(set(record["namespaces"]))
            leftovers.remove_chains()
            for switch, value in record["switches"].items():
                (Path("/proc/sys") / switch).write_text(value)
            leftovers.remove_files(self.folders.state, set(record["network_results"]))

    def _end_pods(self) -> None:
        for task in self._ctr("tasks", "list", "--quiet").split():
            succeeds([*self._ctr_command(), "tasks", "delete", "--force", task])
        for container in self._ctr("containers", "list", "--quiet").split():
            succeeds([*self._ctr_command(), "containers", "delete", container])

    def _has_cri(self) -> bool:
        if not self.processes.is_running("containerd"):
            return False
        rows = [line.split() for line in self._plugins().splitlines()]
        return any(row[:2] == ["io.containerd.grpc.v1", "cri"] and row[-1] == "ok" for row in rows)

    def _plugins(self) -> str:
        try:
            return self._ctr("plugins", "list")
        except ClusterError:
            return ""

    def _ctr_command(self) -> list[str]:
        return ["ctr", "--address", str(self.folders.socket), "--namespace", "k8s.io"]

    def _ctr(self, *arguments: str) -> str:
        return run([*self._ctr_command(), *arguments], timeout_s=300)

    def _remember_machine(self) -> None:
        """Writes down what must be as before when the cluster is gone."""
        switches = {switch: (Path("/proc/sys") / switch) for switch in (*_SWITCHES, *_SET_BY_PROGRAMS)}
        record = {
            "control_groups": sorted(leftovers.control_groups()),
            "namespaces": sorted(leftovers.network_namespaces()),
            "network_results": sorted(leftovers.network_results()),
            "switches": {name: path.read_text().strip() for name, path in switches.items() if path.exists()},
        }
        self.folders.state.mkdir(parents=True, exist_ok=True)
        (self.folders.state / "machine.json").write_text(json.dumps(record))

    def _machine_before(self) -> dict[str, Any] | None:
        """None when the cluster is not there: then nothing on the machine is its own."""
        path = self.folders.state / "machine.json"
        return json.loads(path.read_text()) if path.exists() else None


def check_possible() -> None:
    """ClusterUnavailable, with a way out, where a node can't run."""
    if os.geteuid() != 0:
        raise ClusterUnavailable("the local cluster needs root; or name another in DYNAMO_CLUSTER_KUBECONFIG")
    missing = [name for name in PROGRAMS_OF_SYSTEM if shutil.which(name) is None]
    if not Path(CNI_PROGRAMS, "bridge").exists():
        missing.append(f"{CNI_PROGRAMS}/bridge")
    if missing:
        raise ClusterUnavailable(f"{', '.join(missing)} not installed: run tests/cluster/local/packages.sh")


def check_free_ports() -> None:
    """ClusterError when something else listens where the node's programs will."""
    for port in node_config.PORTS:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("0.0.0.0", port))
            except OSError as error:
                raise ClusterError(f"port {port} is in use; another Kubernetes node may run here") from error
