"""What every test cluster offers, whatever runs it: its kubeconfig, and kubectl and a client that use it.

Must not start or stop anything. Tests get one from a fixture.
"""

from __future__ import annotations

import contextlib
import json
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from lightkube import Client
from lightkube.config.kubeconfig import KubeConfig

from tests.cluster.commands import plain_environment, run, wait_until
from tests.cluster.crds import own_crds


@dataclass(frozen=True)
class Access:
    """A reachable API server, with an administrator's rights."""

    kubeconfig: Path
    kubectl_program: str

    @property
    def url(self) -> str:
        """The API server's address."""
        return str(yaml.safe_load(self.kubeconfig.read_text())["clusters"][0]["cluster"]["server"])

    def kubectl(self, *arguments: str | Path, stdin: str | None = None, timeout_s: float = 120) -> str:
        """kubectl's output; ClusterError with what it said when it fails."""
        # Its discovery cache stays beside the kubeconfig: a cluster that is gone must leave nothing at home.
        env = plain_environment(KUBECACHEDIR=str(self.kubeconfig.parent / "kubectl-cache"))
        command = [self.kubectl_program, "--kubeconfig", self.kubeconfig, *arguments]
        return run(command, stdin=stdin, env=env, timeout_s=timeout_s)

    def get(self, *arguments: str) -> Any:
        """`kubectl get … -o json`, parsed."""
        return json.loads(self.kubectl("get", *arguments, "-o", "json"))

    def apply(self, *documents: dict[str, Any], namespace: str | None = None) -> None:
        """Applies documents server-side, taking over fields that another manager holds."""
        where = ["-n", namespace] if namespace else []
        listed = json.dumps({"apiVersion": "v1", "kind": "List", "items": list(documents)})
        self.kubectl("apply", "--server-side", "--force-conflicts", *where, "-f", "-", stdin=listed)

    def install_crds(self, documents: Sequence[dict[str, Any]] | None = None) -> None:
        """Applies CRDs, ours without conversion unless others are given; returns when they can be used."""
        crds = list(own_crds() if documents is None else documents)
        self.apply(*crds)
        names = [crd["metadata"]["name"] for crd in crds]
        # Not `kubectl wait`: it fails on a CRD that has no conditions yet.
        wait_until(lambda: self._are_established(names), f"{', '.join(names)} can be used", deadline_s=60)

    def _are_established(self, names: Sequence[str]) -> bool:
        found = {crd["metadata"]["name"]: crd for crd in self.get("crd")["items"]}
        conditions = [(found[name].get("status") or {}).get("conditions") or () for name in names]
        return all(any(c["type"] == "Established" and c["status"] == "True" for c in each) for each in conditions)

    def client(self, namespace: str = "default") -> Client:
        """A lightkube client that never asks a proxy."""
        config = KubeConfig.from_file(self.kubeconfig)
        return Client(config=config, namespace=namespace, trust_env=False)

    @contextlib.contextmanager
    def namespace(self, prefix: str = "test") -> Iterator[str]:
        """A namespace of its own, deleted afterwards without waiting for its end."""
        name = f"{prefix}-{uuid.uuid4().hex[:8]}"
        self.kubectl("create", "namespace", name)
        try:
            yield name
        finally:
            self.kubectl("delete", "namespace", name, "--wait=false")
