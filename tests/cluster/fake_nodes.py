"""Nodes and pods that only pretend (kwok), for tests with thousands of pods.

Pods need the scheduler to get there; in a cluster with a real node too, cordon that one first.
Called by the clusters' `add_fake_nodes`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.cluster.access import Access
from tests.cluster.commands import plain_environment
from tests.cluster.local.binaries import KWOK, ensure, module_folder
from tests.cluster.local.processes import Processes

_MARK = "kwok.x-k8s.io/node"
# Without renewed leases, nodes turn NotReady after a minute and every pod with them.
_STAGES = ("node/fast", "node/heartbeat-with-lease", "pod/fast")
_LEASE_S = 40
_ROOM = {"cpu": "1000", "memory": "4Ti", "pods": "10000", "nvidia.com/gpu": "1000"}


def fake_node(number: int) -> dict[str, Any]:
    name = f"fake-{number}"
    labels = {
        "kubernetes.io/hostname": name,
        "kubernetes.io/os": "linux",
        "kubernetes.io/arch": "amd64",
        "type": "kwok",
    }
    metadata = {"name": name, "annotations": {_MARK: "fake"}, "labels": labels}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": metadata,
        "status": {"allocatable": _ROOM, "capacity": _ROOM},
    }


def start_fake_nodes(access: Access, cache: Path, processes: Processes, count: int) -> None:
    """Adds nodes and the program that plays them; returns when they are Ready."""
    program = ensure(cache, KWOK) / KWOK.name
    stages = module_folder(cache, "sigs.k8s.io/kwok", KWOK.version) / "kustomize" / "stage"
    files = sorted(
        file for stage in _STAGES for file in (stages / stage).glob("*.yaml") if file.name != "kustomization.yaml"
    )
    command = [
        str(program),
        f"--kubeconfig={access.kubeconfig.parent / 'certificates' / 'kwok.kubeconfig'}",
        "--manage-all-nodes=false",
        f"--manage-nodes-with-annotation-selector={_MARK}=fake",
        f"--node-lease-duration-seconds={_LEASE_S}",
        *(f"--config={file}" for file in files),
    ]
    processes.start("kwok", command, plain_environment())
    access.apply(*(fake_node(number) for number in range(count)))
    access.kubectl("wait", "--for=condition=Ready", "--timeout=60s", "node", "-l", "type=kwok")
