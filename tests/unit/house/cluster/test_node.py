"""What the node's programs are told, and what is recognised as theirs when they are gone."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest

from tests.cluster.local import node_config
from tests.cluster.local.leftovers import mounts_below, without_cluster_chains
from tests.cluster.local.node_config import NodeFolders, cni_config, containerd_config, kubelet_config

FOLDERS = NodeFolders(state=Path("/cache/state"), images=Path("/cache/images"))
RULES = """*nat
:PREROUTING ACCEPT [0:0]
:KUBE-SERVICES - [0:0]
:CNI-0a1b - [0:0]
:OWN - [0:0]
-A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A PREROUTING -j OWN
-A POSTROUTING -s 10.244.0.2/32 -j CNI-0a1b
-A KUBE-SERVICES -d 10.96.0.1/32 -j ACCEPT
-A OWN -s 192.0.2.1/32 -j RETURN
COMMIT
"""


def test_containerd_keeps_to_its_folders() -> None:
    config = tomllib.loads(containerd_config(FOLDERS, "dynamo.local/pause:test"))
    cri = config["plugins"]["io.containerd.grpc.v1.cri"]
    assert (config["root"], config["grpc"]["address"]) == ("/cache/images", "/cache/state/containerd.sock")
    assert cri["sandbox_image"] == "dynamo.local/pause:test"
    assert cri["containerd"]["runtimes"]["runc"]["options"]["SystemdCgroup"] is False


def test_pods_get_addresses_behind_the_nodes() -> None:
    bridge = json.loads(cni_config(FOLDERS))["plugins"][0]
    assert bridge["bridge"] == node_config.BRIDGE
    assert bridge["ipam"]["ranges"] == [[{"subnet": node_config.POD_RANGE}]]
    assert bridge["ipam"]["dataDir"].startswith("/cache/state")


def test_the_kubelet_asks_who_calls_it() -> None:
    config = kubelet_config(FOLDERS, Path("/cache/state/certificates"))
    assert config["authentication"]["anonymous"] == {"enabled": False}
    assert config["clusterDNS"] == [node_config.DNS_ADDRESS]


def test_only_the_clusters_chains_and_jumps_go() -> None:
    kept = without_cluster_chains(RULES).splitlines()
    assert kept == [
        "*nat",
        ":PREROUTING ACCEPT [0:0]",
        ":OWN - [0:0]",
        "-A PREROUTING -j OWN",
        "-A OWN -s 192.0.2.1/32 -j RETURN",
        "COMMIT",
    ]


def test_rules_without_a_cluster_stay_as_they_are() -> None:
    own = "*filter\n:INPUT DROP [0:0]\n-A INPUT -i lo -j ACCEPT\nCOMMIT\n"
    assert without_cluster_chains(own) == own


@pytest.mark.parametrize(
    ("mounts", "expected"),
    [
        pytest.param(
            "tmpfs /cache/state/pod tmpfs rw 0 0\noverlay /cache/state/pod/deep overlay rw 0 0\n",
            ["/cache/state/pod/deep", "/cache/state/pod"],
            id="innermost-first",
        ),
        pytest.param("tmpfs /cache/state-of-another tmpfs rw 0 0\n", [], id="a-like-name-is-not-below"),
        pytest.param("tmpfs /cache/state/a\\040b tmpfs rw 0 0\n", ["/cache/state/a b"], id="escaped-space"),
    ],
)
def test_mounts_below_the_state_folder_are_found(mounts: str, expected: list[str]) -> None:
    assert mounts_below(mounts, FOLDERS.state) == expected
