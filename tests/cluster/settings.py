"""What the environment says about test clusters, read once.

Must not touch the machine. Called by the fixtures and by `python -m tests.cluster`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class Settings:
    cache: Path  # Binaries, images and the local cluster's state; survives `make clean`.
    kubeconfig: Path | None  # An existing cluster to test against instead of a local one.
    is_required: bool  # A cluster that can't be had fails the tests instead of skipping them; CI sets it.


def read_settings(env: Mapping[str, str]) -> Settings:
    home = Path(env.get("HOME") or "~").expanduser()
    caches = Path(env.get("XDG_CACHE_HOME") or home / ".cache")
    kubeconfig = env.get("DYNAMO_CLUSTER_KUBECONFIG")
    return Settings(
        cache=Path(env.get("DYNAMO_CLUSTER_CACHE") or caches / "dynamo-test-cluster"),
        kubeconfig=Path(kubeconfig) if kubeconfig else None,
        is_required=env.get("DYNAMO_CLUSTER_REQUIRED", "0") not in ("", "0", "false"),
    )
