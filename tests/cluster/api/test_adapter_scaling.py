"""Scaling adapters on a real API server, scaled as people, autoscalers and KEDA do it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.local.api_only import ApiCluster
from tests.cluster.operator_process import OperatorProcess, running_operator
from tests.unit.operator_plane.render.factories import a_component, a_graph_document

DEADLINE_S = 60.0
HPA_DEADLINE_S = 100.0  # its controller learns of new kinds every 30 s and looks every 15 s
NAME = "g-worker"


class Stage:
    """A graph with an adapter in a namespace of its own, and the operator that runs there."""

    def __init__(self, cluster: ApiCluster, namespace: str, operator: OperatorProcess) -> None:
        self.cluster = cluster
        self.namespace = namespace
        self.operator = operator

    def apply(self, *, has_adapter: bool = True, **worker: Any) -> None:
        opt_in: dict[str, Any] = {"scalingAdapter": {}} if has_adapter else {}
        frontend = a_component("Frontend", "frontend")
        graph = a_graph_document(frontend, a_component("Worker", "worker", **opt_in, **worker))
        self.cluster.apply(graph, namespace=self.namespace)

    def kubectl(self, *arguments: str) -> str:
        return self.cluster.kubectl(*arguments, "-n", self.namespace)

    def adapter(self) -> dict[str, Any]:
        found = self.cluster.get("dgdsa", "-n", self.namespace)["items"]
        return next((each for each in found if each["metadata"]["name"] == NAME), {})

    def counts(self) -> tuple[Any, Any, Any]:
        """Replicas as the adapter reports them, as the graph asks for them, and as the workers' Deployment has them."""
        graph = self.cluster.get("dgd", "g", "-n", self.namespace)
        deployments = self.cluster.get("deployments", "-n", self.namespace)["items"]
        of_worker = [each["spec"]["replicas"] for each in deployments if each["metadata"]["name"].startswith(NAME)]
        asked = graph["spec"]["components"][1].get("replicas")
        return (self.adapter().get("status") or {}).get("replicas"), asked, (of_worker or [None])[0]

    def reasons(self) -> list[str]:
        return [each["reason"] for each in self.cluster.get("events", "-n", self.namespace)["items"]]

    def until(self, holds: Callable[[], bool], deadline_s: float = DEADLINE_S) -> None:
        began_s = time.monotonic()
        while not holds():
            assert time.monotonic() - began_s < deadline_s, f"{self.counts()} {self.operator.said()[-2000:]}"
            time.sleep(0.1)


@pytest.fixture
def stage(api_cluster: ApiCluster, api_namespace: str, tmp_path: Path) -> Iterator[Stage]:
    settings = {"namespace": {"restricted": api_namespace}}
    with running_operator(api_cluster.kubeconfig, tmp_path, namespace=api_namespace, settings=settings) as operator:
        found = Stage(api_cluster, api_namespace, operator)
        found.apply()
        found.until(lambda: found.counts() == (1, 1, 1))
        yield found


def test_kubectl_and_a_patch_of_the_scale_reach_the_deployment(stage: Stage) -> None:
    assert "lastScaleTime" not in stage.adapter()["status"]

    stage.kubectl("scale", f"dgdsa/{NAME}", "--replicas=3")
    stage.until(lambda: stage.counts() == (3, 3, 3))
    stage.kubectl("patch", "dgdsa", NAME, "--subresource=scale", "--type=merge", "-p", '{"spec":{"replicas":2}}')
    stage.until(lambda: stage.counts() == (2, 2, 2))

    assert stage.adapter()["status"]["lastScaleTime"]
    stage.until(lambda: stage.reasons().count("Scaled") == 2)
    path = f"/apis/nvidia.com/v1beta1/namespaces/{stage.namespace}/dynamographdeploymentscalingadapters/{NAME}/scale"
    scale = json.loads(stage.cluster.kubectl("get", "--raw", path))
    assert scale["status"] == {
        "replicas": 2,
        "selector": "nvidia.com/dynamo-component=Worker,nvidia.com/dynamo-graph-deployment-name=g",
    }


def test_what_was_scaled_survives_edits_of_graph_and_adapter_and_a_new_operator(stage: Stage, tmp_path: Path) -> None:
    stage.kubectl("scale", f"dgdsa/{NAME}", "--replicas=3")
    stage.until(lambda: stage.counts() == (3, 3, 3))
    stage.operator.kill()
    stage.kubectl("label", "dgdsa", NAME, "nvidia.com/dynamo-component=other", "--overwrite")
    stage.apply(replicas=1)
    settings = {"namespace": {"restricted": stage.namespace}}
    with running_operator(stage.cluster.kubeconfig, tmp_path, namespace=stage.namespace, settings=settings):
        labels = "nvidia.com/dynamo-component"
        stage.until(lambda: stage.adapter()["metadata"]["labels"].get(labels) == "Worker")
        stage.until(lambda: stage.counts() == (3, 3, 3))
    assert stage.adapter()["spec"]["replicas"] == 3


def test_an_adapter_ends_with_its_opt_in_and_leaves_the_replicas(stage: Stage) -> None:
    stage.kubectl("scale", f"dgdsa/{NAME}", "--replicas=2")
    stage.until(lambda: stage.counts() == (2, 2, 2))
    stage.apply(has_adapter=False, replicas=2)
    stage.until(lambda: stage.adapter() == {})
    stage.until(lambda: "AdapterDeleted" in stage.reasons())
    assert stage.counts()[1:] == (2, 2)


def test_an_adapter_made_by_hand_says_why_it_does_nothing(stage: Stage) -> None:
    adapter = {
        "apiVersion": "nvidia.com/v1beta1",
        "kind": "DynamoGraphDeploymentScalingAdapter",
        "metadata": {"name": "mine"},
        "spec": {"replicas": 7, "dgdRef": {"name": "g", "componentName": "Frontend"}},
    }
    stage.cluster.apply(adapter, namespace=stage.namespace)
    stage.until(lambda: "UpdateFailed" in stage.reasons())
    (event,) = [
        each for each in stage.cluster.get("events", "-n", stage.namespace)["items"] if each["reason"] == "UpdateFailed"
    ]
    assert event["message"] == "component Frontend of graph g does not ask for an adapter (scalingAdapter: {})"
    assert stage.cluster.get("dgdsa", "mine", "-n", stage.namespace)["status"]["replicas"] == 1


@pytest.mark.timeout(180, func_only=True)
def test_an_autoscaler_reads_and_writes_the_scale(stage: Stage) -> None:
    """Without metrics it still raises to its minimum, which takes the whole way through the scale subresource."""
    target = {"apiVersion": "nvidia.com/v1beta1", "kind": "DynamoGraphDeploymentScalingAdapter", "name": NAME}
    resource = {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}
    autoscaler = {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "h"},
        "spec": {
            "scaleTargetRef": target,
            "minReplicas": 3,
            "maxReplicas": 5,
            "metrics": [{"type": "Resource", "resource": resource}],
        },
    }
    stage.cluster.apply(autoscaler, namespace=stage.namespace)
    stage.until(lambda: stage.counts() == (3, 3, 3), HPA_DEADLINE_S)

    def is_able() -> bool:
        status = stage.cluster.get("hpa", "h", "-n", stage.namespace).get("status") or {}
        able = [each["status"] for each in status.get("conditions") or () if each["type"] == "AbleToScale"]
        return able == ["True"] and status["desiredReplicas"] == 3

    stage.until(is_able)
