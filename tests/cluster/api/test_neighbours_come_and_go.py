"""LeaderWorkerSet is installed and removed while the operator's real process runs, on a real API server.

The process ends when it finds that out, and is started again as a kubelet does.
"""

from __future__ import annotations

import json
import socket
import ssl
import urllib.error
import urllib.request
from base64 import b64decode
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from dynamo_operator.webhook.configurations import HOOKS
from tests.cluster.commands import wait_until
from tests.cluster.crds import Neighbour, neighbour_crds
from tests.cluster.errors import ClusterError
from tests.cluster.local.api_only import ApiCluster
from tests.cluster.operator_process import OperatorProcess, start_operator
from tests.cluster.settings import Settings
from tests.unit.operator_plane.validate.manifests import a_component
from tests.unit.operator_plane.validate.manifests import a_graph as a_graph_of

Document = dict[str, Any]

NOTICED_S = 60.0
START_S = 60.0
NEEDS = "needs LeaderWorkerSet or Grove"


@dataclass
class Kubelet:
    """Starts the operator again when it ended with exit status 1, and keeps what each one said."""

    start: Callable[[], OperatorProcess]
    started: list[OperatorProcess] = field(default_factory=list)

    @property
    def operator(self) -> OperatorProcess:
        return self.started[-1]

    def tend(self) -> None:
        if not self.started or not self.operator.is_running:
            assert not self.started or self.operator.process.returncode == 1, self.said()
            self.started.append(self.start())

    def until(self, holds: Callable[[], bool], what: str, deadline_s: float) -> float:
        def tended() -> bool:
            self.tend()
            return holds()

        return wait_until(tended, what, deadline_s=deadline_s, explain=self.said)

    def said(self) -> str:
        return "\n---- begun anew ----\n".join(each.said()[-3000:] for each in self.started)

    def end(self) -> None:
        for each in self.started:
            each.kill()


@dataclass(frozen=True)
class Place:
    """One namespace of the cluster, where LeaderWorkerSet comes and goes."""

    cluster: ApiCluster
    namespace: str
    crds: list[Document]

    def install(self) -> None:
        self.cluster.install_crds(self.crds)

    def remove(self) -> None:
        names = [crd["metadata"]["name"] for crd in self.crds]
        self.cluster.kubectl("delete", "crd", "--ignore-not-found", *names, timeout_s=300)

    def apply(self, *documents: Document) -> None:
        self.cluster.apply(*documents, namespace=self.namespace)

    def count(self, kind: str) -> int:
        return len(self.cluster.get(kind, "-n", self.namespace)["items"])

    def said_of(self, graph: str) -> str:
        status = self.cluster.get("dgd", graph, "-n", self.namespace).get("status") or {}
        return " ".join(condition["message"] for condition in status.get("conditions") or ())

    def has_sets(self) -> bool:
        with suppress(ClusterError):
            return self.count("leaderworkersets.leaderworkerset.x-k8s.io") > 0
        return False


@pytest.fixture
def place(api_cluster: ApiCluster, api_namespace: str, cluster_settings: Settings) -> Iterator[Place]:
    """Without LeaderWorkerSet at first, and at last."""
    place = Place(api_cluster, api_namespace, neighbour_crds(cluster_settings.cache, Neighbour.LEADERWORKERSET))
    place.remove()
    yield place
    place.remove()


def wide_graph() -> Document:
    worker = a_component("Wide", "worker", multinode={"nodeCount": 2})
    return a_graph_of(a_component("Frontend", "frontend"), worker, name="wide")


def plain_graph(name: str) -> Document:
    return a_graph_of(a_component("Frontend", "frontend"), name=name)


@pytest.fixture
def kubelet(place: Place, tmp_path: Path) -> Iterator[Kubelet]:
    settings = {"namespace": {"restricted": place.namespace}, "leaderElection": {"enabled": True}}

    def start() -> OperatorProcess:
        return start_operator(place.cluster.kubeconfig, tmp_path, namespace=place.namespace, settings=settings)

    kubelet = Kubelet(start)
    yield kubelet
    kubelet.end()


@pytest.mark.timeout(400, func_only=True)
def test_a_neighbour_comes_and_goes_without_anybody_restarting_the_operator(place: Place, kubelet: Kubelet) -> None:
    kubelet.until(lambda: kubelet.started[-1].is_ready(), "the operator is ready", START_S)
    place.apply(wide_graph())
    kubelet.until(lambda: NEEDS in place.said_of("wide"), "the graph says what it lacks", START_S)
    assert len(kubelet.started) == 1

    place.install()
    came_s = kubelet.until(place.has_sets, "the graph runs as a LeaderWorkerSet", NOTICED_S)
    assert len(kubelet.started) == 2, kubelet.said()
    assert "LeaderWorkerSet came;" in kubelet.started[0].said()
    kubelet.until(lambda: NEEDS not in place.said_of("wide"), "the graph's status is of now", START_S)

    # Else what goes could be noticed by the looks of the start.
    kubelet.until(lambda: "kinds_unchanged" in kubelet.operator.said(), "nobody doubts any more", START_S)
    place.remove()
    place.apply(plain_graph("later"))
    went_s = kubelet.until(lambda: place.count("deployments") == 2, "other graphs go on", NOTICED_S)
    kubelet.until(lambda: NEEDS in place.said_of("wide"), "the graph says again what it lacks", NOTICED_S)
    assert "LeaderWorkerSet went;" in kubelet.started[1].said(), kubelet.said()
    assert len(kubelet.started) == 3, kubelet.said()
    assert not any("Traceback" in each.said() for each in kubelet.started)
    print(f"noticed: came {came_s:.1f} s, went {went_s:.1f} s")


@dataclass(frozen=True)
class Door:
    """The operator's webhook, asked as an API server asks it."""

    place: Place
    port: int

    def refusal(self, graph: Document) -> str | None:
        """Why a graph is refused; None when it is not. ConnectionError and the like while nobody answers."""
        secret = self.place.cluster.get("secret", "webhook-server-cert", "-n", self.place.namespace)
        if "data" not in secret:
            raise ConnectionError("its certificates are not made yet")
        context = ssl.create_default_context(cadata=b64decode(secret["data"]["ca.crt"]).decode())
        context.check_hostname = False
        body = json.dumps(
            {
                "apiVersion": "admission.k8s.io/v1",
                "kind": "AdmissionReview",
                "request": {"uid": "1", "operation": "CREATE", "namespace": self.place.namespace, "object": graph},
            }
        ).encode()
        url = f"https://127.0.0.1:{self.port}{HOOKS[0].path}"
        request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=5, context=context) as answer:
            response = json.load(answer)["response"]
        return None if response["allowed"] else str(response["status"]["message"])

    def is_open_to(self, graph: Document) -> bool:
        with suppress(OSError, ClusterError):
            return self.refusal(graph) is None
        return False

    def is_closed_to(self, graph: Document) -> bool:
        with suppress(OSError, ClusterError):
            return NEEDS.split()[0] in (self.refusal(graph) or "")
        return False


def free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        held = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [int(server.getsockname()[1]) for server in held]


@pytest.mark.timeout(240, func_only=True)
def test_what_admission_refused_for_a_lack_is_admitted_soon_after_it_came(place: Place, tmp_path: Path) -> None:
    health, metrics, webhook = free_ports(3)
    server = {
        "healthProbe": {"port": health},
        "metrics": {"port": metrics},
        "webhook": {"port": webhook, "injectConversion": False, "configurationName": place.namespace},
    }
    settings = {"server": server, "namespace": {"restricted": place.namespace}}

    def start() -> OperatorProcess:
        started = start_operator(place.cluster.kubeconfig, tmp_path, namespace=place.namespace, settings=settings)
        return replace(started, health_port=health, metrics_port=metrics)

    kubelet, door = Kubelet(start), Door(place, webhook)
    try:
        kubelet.until(lambda: door.is_closed_to(wide_graph()), "admission refuses what the cluster lacks", START_S)
        place.install()
        kubelet.until(lambda: door.is_open_to(wide_graph()), "the next apply works", NOTICED_S)
    finally:
        kubelet.end()
    assert len(kubelet.started) == 2, kubelet.said()
    assert "LeaderWorkerSet came;" in kubelet.started[0].said()
