"""A graph on a cluster, as a test speaks of it: apply, wait, find its pods and its address, look inside, delete.

Must not judge. Called by the tests of this folder.
"""

from __future__ import annotations

import json
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster.commands import wait_until
from tests.cluster.port import Cluster
from tests.cluster.settings import REPOSITORY

RUNTIME_NAME = "dynamo:0.1.0"  # What the examples say.
READY_DEADLINE_S = 90
_GONE_DEADLINE_S = 90.0
_ANSWER_DEADLINE_S = 30.0
_PORT = 8000


def example(name: str) -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load((REPOSITORY / "examples" / name).read_text())
    return document


@dataclass(frozen=True)
class Graph:
    """One DynamoGraphDeployment."""

    cluster: Cluster
    namespace: str
    name: str

    def apply(self, document: dict[str, Any]) -> None:
        self.kubectl("apply", "-f", "-", stdin=json.dumps(document))

    def apply_file(self, path: Path) -> None:
        self.kubectl("apply", "-f", path)

    def wait_ready(self, deadline_s: int = READY_DEADLINE_S) -> None:
        wait = ("wait", "--for=condition=Ready", f"--timeout={deadline_s}s")
        self.kubectl(*wait, f"dgd/{self.name}", timeout_s=deadline_s + 10)

    def delete(self) -> None:
        self.kubectl("delete", "dgd", self.name, "--ignore-not-found")

    def kubectl(self, *words: str | Path, stdin: str | None = None, timeout_s: float = 120) -> str:
        return self.cluster.kubectl("-n", self.namespace, *words, stdin=stdin, timeout_s=timeout_s)

    def get(self, *words: str) -> Any:
        return self.cluster.get("-n", self.namespace, *words)

    def document(self) -> dict[str, Any]:
        found: dict[str, Any] = self.get("dgd", self.name)
        return found

    def pods(self, component: str) -> list[dict[str, Any]]:
        """The component's pods that are not ending, by age."""
        chosen = f"nvidia.com/dynamo-graph-deployment-name={self.name},nvidia.com/dynamo-component={component}"
        found: list[dict[str, Any]] = self.get("pods", "-l", chosen, "--sort-by=.metadata.creationTimestamp")["items"]
        return [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]

    def ready_pods(self, component: str) -> list[dict[str, Any]]:
        return [pod for pod in self.pods(component) if is_ready(pod)]

    def wait_pods(self, component: str, count: int, deadline_s: float = READY_DEADLINE_S) -> list[dict[str, Any]]:
        """Its ready pods, once there are as many as that and no others."""

        def settled() -> bool:
            return len(self.pods(component)) == len(self.ready_pods(component)) == count

        what = f"{self.name} has {count} ready pods of {component}"
        wait_until(settled, what, deadline_s=deadline_s, explain=lambda: self.kubectl("get", "pods,dgd,dcd,dgdsa"))
        return self.ready_pods(component)

    def url(self) -> str:
        """The frontend Service's address, once connections to it work from here."""
        address = self.get("service", f"{self.name}-frontend")["spec"]["clusterIP"]
        if not _reaches_services(self.cluster):
            pytest.skip(f"service addresses such as {address} are not reachable from this machine")
        what = f"the frontend Service at {address}:{_PORT} takes connections"
        wait_until(lambda: _connects(address, _PORT), what, deadline_s=_ANSWER_DEADLINE_S)
        return f"http://{address}:{_PORT}"

    def run_python(self, pod: str, code: str) -> str:
        """Runs a program in the pod's main container."""
        return self.kubectl("exec", pod, "-c", "main", "--", "python3", "-c", code)


def is_ready(pod: dict[str, Any]) -> bool:
    conditions = pod["status"].get("conditions", ())
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


def name_of(document: dict[str, Any]) -> str:
    return str(document["metadata"]["name"])


def everything_in(cluster: Cluster, namespace: str) -> set[str]:
    """`kind/name` of every object of every kind in a namespace; Events are a log, not objects that somebody keeps."""
    kinds = cluster.kubectl("api-resources", "--verbs=list", "--namespaced", "-o", "name").split()
    wanted = ",".join(kind for kind in kinds if kind not in ("events", "events.events.k8s.io"))
    return set(cluster.kubectl("get", wanted, "-n", namespace, "-o", "name", "--ignore-not-found").split())


def wait_gone(cluster: Cluster, namespace: str, before: set[str]) -> float:
    """Seconds until a namespace holds nothing more than `before`."""

    def left() -> set[str]:
        return everything_in(cluster, namespace) - before

    return wait_until(
        lambda: not left(), "nothing is left behind", deadline_s=_GONE_DEADLINE_S, explain=lambda: str(sorted(left()))
    )


def _reaches_services(cluster: Cluster) -> bool:
    address = cluster.get("service", "kubernetes", "-n", "default")["spec"]["clusterIP"]
    return _connects(address, 443)


def _connects(address: str, port: int) -> bool:
    try:
        with socket.create_connection((address, port), timeout=2):
            return True
    except OSError:
        return False
