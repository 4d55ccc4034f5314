"""Chooses the discovery implementation from DYN_DISCOVERY_BACKEND. Called by the entry points of all processes."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

from dynamo.discovery.errors import DiscoveryError
from dynamo.discovery.file import FileDiscovery, FileRegistry
from dynamo.discovery.mem import MemFleet

__all__ = ["DiscoveryError", "open_discovery", "open_registry"]

BACKENDS = ("file", "mem")


def open_registry(backend: str, env: Mapping[str, str]) -> FileRegistry | MemFleet:
    """`backend` empty means file. Raises DiscoveryError."""
    return FileRegistry(_folder(env)) if _checked(backend) == "file" else MemFleet()


def open_discovery(backend: str, env: Mapping[str, str]) -> FileDiscovery | MemFleet:
    """`backend` empty means file. A fresh `mem` fleet stays empty unless its workers share the object."""
    return FileDiscovery(_folder(env)) if _checked(backend) == "file" else MemFleet()


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
