"""Chooses the discovery implementation from DYN_DISCOVERY_BACKEND. Called by the entry points of all processes."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from dynamo.discovery.errors import DiscoveryError
from dynamo.discovery.file import FileDiscovery, FileRegistry
from dynamo.discovery.mem import MemFleet

if TYPE_CHECKING:
    from dynamo.discovery.cluster import ClusterDiscovery, ClusterRegistry

__all__ = ["DISCOVERY_ENV", "DiscoveryError", "open_discovery", "open_registry"]

BACKENDS = ("file", "mem", "kubernetes")
DISCOVERY_ENV = (
    "DYN_FILE_KV",
    "TMPDIR",
    "POD_NAME",
    "POD_UID",
    "POD_NAMESPACE",
    "CONTAINER_NAME",
    "DYN_KUBE_DISCOVERY_MODE",
    "KUBECONFIG",
)
"""Variables that some backend reads."""


def open_registry(backend: str, env: Mapping[str, str]) -> FileRegistry | MemFleet | ClusterRegistry:
    """`backend` empty means file. Raises DiscoveryError."""
    if _checked(backend) == "kubernetes":
        # Here, not above: the client costs 45 ms and 5 MB that other backends need not pay.
        from dynamo.discovery.cluster import open_cluster_registry

        return open_cluster_registry(env)
    return MemFleet() if backend == "mem" else FileRegistry(_folder(env))


def open_discovery(backend: str, env: Mapping[str, str]) -> FileDiscovery | MemFleet | ClusterDiscovery:
    """`backend` empty means file. A fresh `mem` fleet stays empty unless its workers share the object."""
    if _checked(backend) == "kubernetes":
        from dynamo.discovery.cluster import open_cluster_discovery

        return open_cluster_discovery(env)
    return MemFleet() if backend == "mem" else FileDiscovery(_folder(env))


def _checked(backend: str) -> str:
    if (backend or "file") not in BACKENDS:
        raise DiscoveryError(f"DYN_DISCOVERY_BACKEND: found {backend!r}; expected one of {', '.join(BACKENDS)}")
    return backend or "file"


def _folder(env: Mapping[str, str]) -> Path:
    """DYN_FILE_KV, else a folder of ours in the temporary directory.

    The temporary directory is writable by everyone, so a folder there that somebody else made is refused: its owner
    could invent workers and receive prompts.
    """
    if named := env.get("DYN_FILE_KV"):
        return Path(named)
    folder = Path(env.get("TMPDIR") or tempfile.gettempdir()) / "dynamo_store_kv"
    if folder.exists() and folder.stat().st_uid != os.geteuid():
        raise DiscoveryError(f"{folder} belongs to another user; set DYN_FILE_KV to a folder of your own")
    return folder
