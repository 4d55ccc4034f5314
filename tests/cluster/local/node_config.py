"""What the node's programs are told: containerd, CNI, kubelet and kube-proxy. Pure.

Called by the node's boot, which writes these files and starts the programs.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

NODE = "node0"
BRIDGE = "dynamo0"
NETWORK = "dynamo-test"
ADDRESS = "10.244.0.1"
POD_RANGE = "10.244.0.0/24"
DNS_ADDRESS = "10.96.0.10"
CNI_PROGRAMS = "/usr/lib/cni"
API_PORT, ETCD_PORT, ETCD_PEER_PORT = 6443, 2379, 2380
KUBELET_PORT, KUBELET_HEALTH_PORT = 10250, 10248
PROXY_METRICS_PORT, PROXY_HEALTH_PORT = 10249, 10256
PORTS = (
    API_PORT,
    ETCD_PORT,
    ETCD_PEER_PORT,
    KUBELET_PORT,
    KUBELET_HEALTH_PORT,
    PROXY_METRICS_PORT,
    PROXY_HEALTH_PORT,
)


@dataclass(frozen=True, slots=True)
class NodeFolders:
    """Where the node keeps what. Images outlive the cluster; everything in `state` goes with it."""

    state: Path
    images: Path

    @property
    def socket(self) -> Path:
        return self.state / "containerd.sock"

    @property
    def kubelet(self) -> Path:
        return self.state / "kubelet"


def containerd_config(folders: NodeFolders, sandbox_image: str) -> str:
    cri = 'plugins."io.containerd.grpc.v1.cri"'
    return f"""version = 2
root = "{folders.images}"
state = "{folders.state / "containerd"}"
[grpc]
  address = "{folders.socket}"
[{cri}]
  sandbox_image = "{sandbox_image}"
  restrict_oom_score_adj = true
  stream_server_address = "127.0.0.1"
  [{cri}.containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"
    [{cri}.containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [{cri}.containerd.runtimes.runc.options]
        SystemdCgroup = false
  [{cri}.cni]
    bin_dir = "{CNI_PROGRAMS}"
    conf_dir = "{folders.state / "cni"}"
"""


def cni_config(folders: NodeFolders) -> str:
    bridge = {
        "type": "bridge",
        "bridge": BRIDGE,
        "isGateway": True,
        "ipMasq": True,
        "hairpinMode": True,  # A pod may reach itself through its own Service.
        "ipam": {
            "type": "host-local",
            "dataDir": str(folders.state / "addresses"),
            "ranges": [[{"subnet": POD_RANGE}]],
            "routes": [{"dst": "0.0.0.0/0"}],
        },
    }
    portmap = {"type": "portmap", "capabilities": {"portMappings": True}}
    return json.dumps({"cniVersion": "1.0.0", "name": NETWORK, "plugins": [bridge, portmap]}, indent=2)


def kubelet_config(folders: NodeFolders, certificates: Path) -> dict[str, Any]:
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": ADDRESS,
        "port": KUBELET_PORT,
        "healthzPort": KUBELET_HEALTH_PORT,
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": False},
            "x509": {"clientCAFile": str(certificates / "ca.crt")},
        },
        "authorization": {"mode": "AlwaysAllow"},
        "tlsCertFile": str(certificates / "node.crt"),
        "tlsPrivateKeyFile": str(certificates / "node.key"),
        "containerRuntimeEndpoint": f"unix://{folders.socket}",
        "cgroupDriver": "cgroupfs",
        "failSwapOn": False,
        "failCgroupV1": False,
        "enforceNodeAllocatable": [],
        "clusterDNS": [DNS_ADDRESS],
        "clusterDomain": "cluster.local",
        "podLogsDir": str(folders.state / "pod-logs"),
        # A test machine's full disk must not evict the tests' pods, nor remove images that no registry has.
        "evictionHard": {"memory.available": "50Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
        "maxPods": 250,
        "syncFrequency": "10s",
        "nodeStatusUpdateFrequency": "5s",
    }


def proxy_config(kubeconfig: Path) -> dict[str, Any]:
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "iptables",
        "hostnameOverride": NODE,
        "clusterCIDR": POD_RANGE,
        "clientConnection": {"kubeconfig": str(kubeconfig)},
        # The machine's own limits stay: they may not be ours to set.
        "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
        "nodePortAddresses": ["primary"],
        "metricsBindAddress": f"127.0.0.1:{PROXY_METRICS_PORT}",
        "healthzBindAddress": f"127.0.0.1:{PROXY_HEALTH_PORT}",
    }


def kubelet_command(programs: Path, folders: NodeFolders, certificates: Path) -> list[str]:
    return [
        str(programs / "kubelet"),
        f"--config={folders.state / 'kubelet.yaml'}",
        f"--kubeconfig={certificates / 'node.kubeconfig'}",
        f"--root-dir={folders.kubelet}",
        f"--hostname-override={NODE}",
        f"--node-ip={ADDRESS}",
    ]
