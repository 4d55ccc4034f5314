"""The chart as users install it: one release on a running cluster, by the real helm, with the image built here.

Called by the fixtures of this folder.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tests.cluster.chart import CHART
from tests.cluster.commands import plain_environment, run
from tests.cluster.local.images.recipes import OPERATOR
from tests.cluster.port import Cluster

RELEASE = "dynamo"
NAMESPACE = "dynamo-system"
_INSTALL_DEADLINE_S = 90


@dataclass(frozen=True)
class Release:
    """`helm` verbs on one release."""

    cluster: Cluster
    helm_program: Path
    name: str = RELEASE
    namespace: str = NAMESPACE
    audited_from: int = 0  # The place in the audit log before its first call.

    def install(self, *values: str) -> None:
        """`helm install --wait`, with values as `--set` takes them."""
        repository, _, tag = OPERATOR.reference.rpartition(":")
        image = "dynamo-operator.controllerManager.manager.image"
        given = (f"{image}.repository={repository}", f"{image}.tag={tag}", *values)
        settings = [word for value in given for word in ("--set", value)]
        wait = ("--wait", "--timeout", f"{_INSTALL_DEADLINE_S}s")
        self.helm("install", self.name, CHART, "--create-namespace", *wait, *settings)

    def is_installed(self) -> bool:
        return self.name in self.helm("list", "--all", "--short").split()

    def test(self) -> str:
        return self.helm("test", self.name)

    def uninstall(self) -> None:
        """Also when it is not there, or only half."""
        self.helm("uninstall", self.name, "--ignore-not-found", "--wait", "--timeout", "60s")

    def helm(self, *words: str | Path) -> str:
        where = ("--kubeconfig", self.cluster.kubeconfig, "--namespace", self.namespace)
        return run([self.helm_program, *words, *where], env=plain_environment(), timeout_s=_INSTALL_DEADLINE_S + 30)


def operator_user(release: Release) -> str:
    """Who the API server takes the release's operator for."""
    return f"system:serviceaccount:{release.namespace}:dynamo-operator"
