"""What a node leaves on its machine beside processes: mounts, links, namespaces, chains, control groups.

The plain readings (which mounts, which iptables lines are ours) are pure; the removal uses them. Must remove nothing
that was there before the cluster. Called by the node's shutdown.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
from collections.abc import Iterable
from pathlib import Path

from tests.cluster.commands import run, succeeds, wait_until
from tests.cluster.local.node_config import BRIDGE

NETWORK_NAMESPACES = Path("/run/netns")
_CONTROL_GROUPS = Path("/sys/fs/cgroup")
_CNI_RESULTS = Path("/var/lib/cni/results")
_CONTAINERD_REMAINS = tuple(map(Path, ("/run/containerd/runc/k8s.io", "/run/containerd/runc", "/run/containerd/s")))
_CONTAINER_LOGS = Path("/var/log/containers")
_END_DEADLINE_S = 10.0
_SHIM = "containerd-shim-runc-v2"
_CHAIN_OF_CLUSTER = re.compile(r"(^:|-A |-j |-g )(KUBE-|CNI-)")


def mounts_below(mounts: str, folder: Path) -> list[str]:
    """Mount points under a folder, from /proc/mounts' text, innermost first."""
    points = [line.split()[1].replace("\\040", " ") for line in mounts.splitlines() if line]
    inside = [point for point in points if Path(point).is_relative_to(folder)]
    return sorted(inside, key=len, reverse=True)


def without_cluster_chains(rules: str) -> str:
    """iptables-save's text without the chains of kube-proxy, the kubelet and CNI, and without the jumps into them."""
    kept = [line for line in rules.splitlines() if not _CHAIN_OF_CLUSTER.search(line)]
    return "\n".join(kept) + "\n"


def network_namespaces() -> set[str]:
    return {path.name for path in NETWORK_NAMESPACES.glob("cni-*")}


def remove_shims(socket: Path) -> None:
    """Ends the shims that our containerd started: its socket is among their arguments."""
    ours = [pid for pid, words in _command_lines() if words and words[0].endswith(_SHIM) and str(socket) in words]
    for pid in ours:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    if ours:
        wait_until(
            lambda: not any(Path(f"/proc/{pid}").exists() for pid in ours), "shims end", deadline_s=_END_DEADLINE_S
        )


def remove_mounts(folders: Iterable[Path]) -> None:
    for folder in folders:
        for point in mounts_below(Path("/proc/mounts").read_text(), folder):
            run(["umount", "--lazy", point])


def remove_network(namespaces_before: set[str]) -> None:
    """The bridge, what is plugged into it, and the namespaces that came with the cluster."""
    for name in network_namespaces() - namespaces_before:
        with contextlib.suppress(OSError):
            run(["umount", "--lazy", NETWORK_NAMESPACES / name])
        (NETWORK_NAMESPACES / name).unlink(missing_ok=True)
    if Path(f"/sys/class/net/{BRIDGE}").exists():
        for link in Path(f"/sys/class/net/{BRIDGE}/brif").iterdir():
            succeeds(["ip", "link", "delete", link.name])
        run(["ip", "link", "delete", BRIDGE])


def remove_chains() -> None:
    for family in ("iptables", "ip6tables"):
        before = run([f"{family}-save"])
        after = without_cluster_chains(before)
        if after.splitlines() != before.splitlines():
            run([f"{family}-restore"], stdin=after)


def control_groups() -> set[str]:
    """The pods' control groups, one per controller."""
    return {str(top) for top in [*_CONTROL_GROUPS.glob("kubepods"), *_CONTROL_GROUPS.glob("*/kubepods")]}


def remove_control_groups(before: set[str]) -> None:
    """Ends what still runs in the pods' groups: containers outlive a containerd and a shim that were killed."""
    folders = [Path(folder) for top in control_groups() - before for folder, _, _ in os.walk(top, topdown=False)]
    for pid in _members(folders):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not _members(folders), "the pods' processes end", deadline_s=_END_DEADLINE_S)
    for folder in folders:
        with contextlib.suppress(FileNotFoundError):
            folder.rmdir()


def network_results() -> set[str]:
    """CNI's record of every interface it made, which no setting moves elsewhere."""
    return {path.name for path in _CNI_RESULTS.glob("*")}


def remove_files(state: Path, results_before: set[str]) -> None:
    """The state folder, and what programs keep outside it whatever they are told."""
    shutil.rmtree(state, ignore_errors=True)
    for link in _CONTAINER_LOGS.glob("*.log"):
        if link.is_symlink() and not link.exists():
            link.unlink()
    for result in network_results() - results_before:
        (_CNI_RESULTS / result).unlink()
    for empty in (_CONTAINER_LOGS, _CNI_RESULTS, _CNI_RESULTS.parent, *_CONTAINERD_REMAINS):
        with contextlib.suppress(OSError):
            empty.rmdir()


def _command_lines() -> Iterable[tuple[int, list[str]]]:
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with contextlib.suppress(OSError):
                words = (folder / "cmdline").read_bytes().decode(errors="replace").split("\0")
                yield int(folder.name), words


def _members(groups: Iterable[Path]) -> set[int]:
    found: set[int] = set()
    for group in groups:
        with contextlib.suppress(OSError):
            found |= {int(pid) for pid in (group / "cgroup.procs").read_text().split()}
    return found
