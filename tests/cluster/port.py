"""What a test of running pods asks of a cluster, whichever of the three ways it came by.

Declared for the tests; the local cluster, kind and an existing kubeconfig implement it.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

from lightkube import Client

from tests.cluster.local.images.recipes import Image


class Cluster(Protocol):
    """A Kubernetes whose pods run."""

    @property
    def kubeconfig(self) -> Path: ...

    @property
    def url(self) -> str: ...

    @property
    def node(self) -> str:
        """A node that takes pods."""

    def load_image(self, image: Image, *names: str) -> None:
        """Makes one of our images runnable, under more names too: those that a manifest under test says."""

    def kubectl(self, *arguments: str | Path, stdin: str | None = None, timeout_s: float = 120) -> str: ...

    def get(self, *arguments: str) -> Any: ...

    def apply(self, *documents: dict[str, Any], namespace: str | None = None) -> None: ...

    def client(self, namespace: str = "default") -> Client: ...

    def namespace(self, prefix: str = "test") -> AbstractContextManager[str]: ...
