"""What a user reads and gets when things go wrong, by the operator's process on a real API server."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.errors import ClusterError
from tests.cluster.local.api_only import ApiCluster
from tests.cluster.operator_process import OperatorProcess, running_operator
from tests.unit.operator_plane.render.factories import a_component, a_graph_document

DEADLINE_S = 60.0
GRAPHS = "dynamographdeployments.v1beta1.nvidia.com"
PULLING = {
    "phase": "Pending",
    "containerStatuses": [
        {
            "name": "main",
            "image": "engine-bad:1.5.0",
            "imageID": "",
            "ready": False,
            "restartCount": 0,
            "state": {"waiting": {"reason": "ImagePullBackOff", "message": "Back-off pulling image"}},
        }
    ],
}
READY = {
    "phase": "Running",
    "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}],
}


@dataclass
class Scene:
    """One namespace, the operator that serves it, and a kubelet that tests play."""

    cluster: ApiCluster
    namespace: str
    operator: OperatorProcess

    def apply(self, *documents: dict[str, Any]) -> None:
        self.cluster.apply(*documents, namespace=self.namespace)

    def kubectl(self, *words: str, stdin: str | None = None) -> str:
        return self.cluster.kubectl(*words, "-n", self.namespace, stdin=stdin)

    def get(self, *words: str) -> Any:
        return self.cluster.get(*words, "-n", self.namespace)

    def status(self) -> dict[str, Any]:
        status: dict[str, Any] = self.get(GRAPHS, "g").get("status") or {}
        return status

    def message(self) -> str:
        return "; ".join(each["message"] for each in self.status().get("conditions") or ())

    def is_successful(self) -> bool:
        """Its pods become ready meanwhile."""
        self.play(READY)
        graph = self.get(GRAPHS, "g")
        status = graph.get("status") or {}
        is_seen = status.get("observedGeneration") == graph["metadata"]["generation"]
        return bool(is_seen and status["state"] == "successful")

    def play(self, status: dict[str, Any]) -> None:
        """The kubelet's part: a status for every pod that has not got it."""
        for pod in self.get("pods")["items"]:
            shown = pod["status"]
            is_same = ("containerStatuses" in shown) == ("containerStatuses" in status)
            if shown.get("phase") != status["phase"] or not is_same:
                try:
                    name = pod["metadata"]["name"]
                    patch = json.dumps({"status": {"containerStatuses": None, "conditions": None} | status})
                    self.kubectl("patch", "pod", name, "--subresource=status", "--type=merge", "-p", patch)
                except ClusterError:
                    continue  # it went meanwhile

    def until(self, holds: Callable[[], bool]) -> None:
        began = time.monotonic()
        while not holds():
            late = f"{self.status()}\n{self.operator.said()[-2000:]}"
            assert time.monotonic() - began < DEADLINE_S, late
            time.sleep(0.1)  # the operator's turn; the deadline is above


@pytest.fixture
def scene(api_cluster: ApiCluster, api_namespace: str, tmp_path: Path) -> Iterator[Scene]:
    settings = {"namespace": {"restricted": api_namespace}}
    with running_operator(api_cluster.kubeconfig, tmp_path, namespace=api_namespace, settings=settings) as operator:
        scene = Scene(api_cluster, api_namespace, operator)
        scene.apply(a_graph())
        yield scene


def a_graph(image: str = "engine:1.5.0") -> dict[str, Any]:
    return a_graph_document(a_component("Frontend", "frontend"), a_component("Worker", main={"image": image}))


def test_image_that_cannot_be_pulled_is_named_until_it_can(scene: Scene) -> None:
    def is_told() -> bool:
        scene.play(PULLING)
        return "Worker: 0/1 ready, pods not ready (1 pod: container main cannot pull image engine:1.5.0)" in (
            scene.message()
        )

    scene.until(is_told)
    scene.until(scene.is_successful)
    assert scene.message() == "All resources are ready"


def test_quota_that_is_exceeded_is_named(scene: Scene) -> None:
    scene.until(scene.is_successful)
    scene.apply(
        {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "small"}, "spec": {"hard": {"pods": 1}}}
    )
    scene.kubectl("delete", "pods", "--all", "--grace-period=0", "--force")
    scene.until(lambda: "pods cannot be created: exceeded quota: small, requested: pods=1" in scene.message())
    scene.kubectl("delete", "quota", "small")
    scene.until(scene.is_successful)


def test_webhook_of_others_that_is_away_is_named_and_survived(scene: Scene) -> None:
    scene.until(scene.is_successful)
    rule = {"apiGroups": ["apps"], "apiVersions": ["v1"], "operations": ["*"], "resources": ["deployments"]}
    webhook = {
        "name": "away.example.com",
        "clientConfig": {"url": "https://127.0.0.1:9/"},
        "rules": [rule],
        "admissionReviewVersions": ["v1"],
        "sideEffects": "None",
        "timeoutSeconds": 1,
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": scene.namespace}},
    }
    metadata = {"name": f"away-{scene.namespace}"}
    api = "admissionregistration.k8s.io/v1"
    scene.cluster.apply(
        {"apiVersion": api, "kind": "ValidatingWebhookConfiguration", "metadata": metadata, "webhooks": [webhook]}
    )
    try:
        scene.until(lambda: _is_refused(scene))
        scene.apply(a_graph("engine-two:1.5.0"))
        scene.until(lambda: 'failed calling webhook "away.example.com"' in scene.message())
        assert (scene.status()["state"], scene.status()["observedGeneration"]) == ("pending", 2)
    finally:
        scene.cluster.kubectl("delete", "validatingwebhookconfiguration", metadata["name"])
    scene.until(lambda: "failed calling" not in scene.message())


def _is_refused(scene: Scene) -> bool:
    """The API server learns of webhooks a little later."""
    try:
        scene.kubectl("annotate", "deploy", "g-frontend", "probe=1", "--overwrite", "--dry-run=server")
    except ClusterError:
        return True
    return False


def test_object_that_cannot_leave_keeps_the_graph_from_ready(scene: Scene) -> None:
    scene.until(scene.is_successful)
    scene.kubectl(
        "patch", "svc", "g-frontend", "--type=merge", "-p", '{"metadata":{"finalizers":["example.com/keep"]}}'
    )
    scene.kubectl("delete", "svc", "g-frontend", "--wait=false")
    scene.until(lambda: "Service g-frontend is being deleted" in scene.message())
    assert scene.status()["state"] == "pending"
    scene.kubectl("patch", "svc", "g-frontend", "--type=merge", "-p", '{"metadata":{"finalizers":null}}')
    scene.until(scene.is_successful)


def test_ports_of_a_service_come_back_whatever_was_done_to_them(scene: Scene) -> None:
    scene.until(scene.is_successful)
    ports = '{"spec":{"ports":[{"name":"http","port":80}],"selector":{"app":"other"}}}'
    scene.kubectl("patch", "svc", "g-frontend", "--type=merge", "-p", ports)

    def is_whole() -> bool:
        spec = scene.get("svc", "g-frontend")["spec"]
        found = [(each["name"], each["port"], each["targetPort"]) for each in spec["ports"]]
        return found == [("http", 8000, "http")] and "nvidia.com/dynamo-component" in spec["selector"]

    scene.until(is_whole)
    scene.until(scene.is_successful)


def test_forced_replacement_ends_with_the_new_graphs_objects_only(scene: Scene) -> None:
    scene.until(scene.is_successful)
    before = scene.get(GRAPHS, "g")["metadata"]["uid"]
    scene.kubectl("replace", "--force", "-f", "-", stdin=json.dumps(a_graph("engine-two:1.5.0")))
    scene.until(lambda: scene.get(GRAPHS, "g")["metadata"]["uid"] != before and scene.is_successful())
    images = sorted(
        each["spec"]["template"]["spec"]["containers"][0]["image"] for each in scene.get("deployments")["items"]
    )
    assert images == ["engine-two:1.5.0", "engine:1.5.0"]  # the frontend's is the factory's own


def test_orphaned_objects_live_on_and_are_not_taken_over(scene: Scene) -> None:
    scene.until(scene.is_successful)
    uids = {each["metadata"]["uid"] for each in scene.get("deployments")["items"]}
    scene.kubectl("delete", GRAPHS, "g", "--cascade=orphan")
    scene.apply(a_graph())
    scene.until(lambda: "DynamoComponentDeployment g-frontend exists and has no owner" in scene.message())
    assert scene.status()["state"] == "failed"
    assert {each["metadata"]["uid"] for each in scene.get("deployments")["items"]} == uids


def test_component_deployments_deleted_by_hand_come_back(scene: Scene) -> None:
    scene.until(scene.is_successful)
    before = {each["metadata"]["name"] for each in scene.get("deployments")["items"]}
    scene.kubectl("delete", "dynamocomponentdeployments.v1beta1.nvidia.com", "--all")
    scene.until(scene.is_successful)
    assert {each["metadata"]["name"] for each in scene.get("deployments")["items"]} == before
