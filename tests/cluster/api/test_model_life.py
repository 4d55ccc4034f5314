"""DynamoModels on a real API server, with the real EndpointSlice controller and a real worker."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from dynamo_operator.render import names
from tests.cluster.local.api_only import ApiCluster
from tests.cluster.operator_process import OperatorProcess, running_operator, start_operator
from tests.stack import Process, free_port, wait_until
from tests.unit.operator_plane.render.factories import a_component, a_graph_document

DEADLINE_S = 60.0
BASE = "tiny"
SLICE = {"nvidia.com/dynamo-base-model-hash": names.model_hash(BASE)}


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, int]]:
    """Host and port of a mocker's system server. The API server takes no loopback addresses for endpoints."""
    host, port, folder = _own_address(), free_port(), tmp_path_factory.mktemp("worker")
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("DYN_")},
        "DYN_DISCOVERY_BACKEND": "file",
        "DYN_FILE_KV": str(folder),
        "DYN_TCP_RPC_HOST": "127.0.0.1",
        "DYN_SYSTEM_HOST": host,
        "DYN_SYSTEM_PORT": str(port),
        "DYN_LORA_ENABLED": "true",
        "DYN_GRACEFUL_SHUTDOWN_GRACE_PERIOD_SECS": "0",
    }
    log = folder / "worker.log"
    with log.open("wb") as output:
        command = [sys.executable, "-m", "dynamo.mocker", "--model-name", BASE]
        process = Process("worker", subprocess.Popen(command, env=environment, stdout=output, stderr=output), log)
    try:
        url = f"http://{host}:{port}/health"
        wait_until(lambda: httpx.get(url, timeout=5).status_code == 200, "ready", processes=[process])
        yield host, port
    finally:
        process.stop()


@pytest.fixture
def operator(api_cluster: ApiCluster, api_namespace: str, tmp_path: Path) -> Iterator[OperatorProcess]:
    settings = {"namespace": {"restricted": api_namespace}}
    with running_operator(api_cluster.kubeconfig, tmp_path, namespace=api_namespace, settings=settings) as found:
        yield found


def a_model(kind: str = "lora", uri: str = "s3://key:hunter22@bucket/a") -> dict[str, Any]:
    spec = {"modelName": "a", "baseModelName": BASE, "modelType": kind, "source": {"uri": uri}}
    return {"apiVersion": "nvidia.com/v1alpha1", "kind": "DynamoModel", "metadata": {"name": "m"}, "spec": spec}


def a_slice(host: str, port: int) -> dict[str, Any]:
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": "by-hand", "labels": SLICE},
        "addressType": "IPv4",
        "ports": [{"name": "system", "port": port}],
        "endpoints": [{"addresses": [host], "conditions": {"ready": True}}],
    }


def models(cluster: ApiCluster, namespace: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = cluster.get("dynamomodels", "-n", namespace)["items"]
    return found


def reason(cluster: ApiCluster, namespace: str) -> str:
    status = (models(cluster, namespace) or [{}])[0].get("status") or {}
    ready = (each for each in status.get("conditions") or () if each["type"] == "EndpointsReady")
    return next((str(each["reason"]) for each in ready), "")


def until(holds: Callable[[], bool], operator: OperatorProcess) -> None:
    began_s = time.monotonic()
    while not holds():
        assert time.monotonic() - began_s < DEADLINE_S, operator.said()[-3000:]
        time.sleep(0.1)


def loaded(worker: tuple[str, int]) -> dict[str, int]:
    found: dict[str, int] = httpx.get(f"http://{worker[0]}:{worker[1]}/v1/loras", timeout=5).json()["loras"]
    return found


def test_an_adapter_comes_and_goes_also_while_no_operator_runs(
    api_cluster: ApiCluster, api_namespace: str, operator: OperatorProcess, worker: tuple[str, int], tmp_path: Path
) -> None:
    api_cluster.apply(a_slice(*worker), a_model(), namespace=api_namespace)
    until(lambda: reason(api_cluster, api_namespace) == "AllEndpointsReady", operator)
    assert loaded(worker).keys() == {"a"}
    (model,) = models(api_cluster, api_namespace)
    assert (model["status"]["readyEndpoints"], model["status"]["totalEndpoints"]) == (1, 1)
    assert model["status"]["endpoints"][0]["loaded"].startswith("a@")
    assert model["metadata"]["finalizers"] == ["nvidia.com/finalizer"]

    assert operator.stop() == 0
    api_cluster.kubectl("delete", "dynamomodel", "m", "-n", api_namespace, "--wait=false")
    assert loaded(worker).keys() == {"a"}
    settings = {"namespace": {"restricted": api_namespace}}
    successor = start_operator(api_cluster.kubeconfig, tmp_path, namespace=api_namespace, settings=settings)
    try:
        until(lambda: models(api_cluster, api_namespace) == [], successor)
    finally:
        successor.kill()
    assert loaded(worker) == {}
    events = api_cluster.get("events", "-n", api_namespace)["items"]
    assert {"EndpointsReady", "LoRAUnloaded"} <= {each["reason"] for each in events}
    assert "hunter22" not in str(model["status"]) + str(events) + operator.said() + successor.said()


def test_a_namespace_goes_although_no_worker_answers(
    api_cluster: ApiCluster, operator: OperatorProcess, api_namespace: str
) -> None:
    """192.0.2.0/24 is nobody's: connecting there takes as long as it is allowed to."""
    api_cluster.apply(a_slice("192.0.2.1", 9), a_model(), namespace=api_namespace)
    until(lambda: bool(models(api_cluster, api_namespace)[0]["metadata"].get("finalizers")), operator)
    api_cluster.kubectl("delete", "namespace", api_namespace, "--wait=false")
    until(lambda: models(api_cluster, api_namespace) == [], operator)


def test_workers_are_found_through_the_models_service(
    api_cluster: ApiCluster, api_namespace: str, operator: OperatorProcess
) -> None:
    graph = a_graph_document(a_component("Worker", "worker", modelRef={"name": BASE}))
    api_cluster.apply({"apiVersion": "v1", "kind": "Node", "metadata": {"name": api_namespace}})
    api_cluster.apply(graph, a_model("base"), namespace=api_namespace)
    until(lambda: bool(_pods(api_cluster, api_namespace)), operator)
    (pod,) = _pods(api_cluster, api_namespace)
    status = {
        "phase": "Running",
        "podIP": "10.1.2.3",
        "podIPs": [{"ip": "10.1.2.3"}],
        "conditions": [{"type": "Ready", "status": "True"}],
    }
    _bind(api_cluster, api_namespace, pod)
    _set_status(api_cluster, api_namespace, pod, status)
    until(lambda: reason(api_cluster, api_namespace) == "EndpointsDiscovered", operator)
    (model,) = models(api_cluster, api_namespace)
    assert model["status"]["endpoints"] == [{"address": "http://10.1.2.3:9090", "podName": pod, "ready": False}]


def _pods(cluster: ApiCluster, namespace: str) -> list[str]:
    found = cluster.get("pods", "-n", namespace, "-l", f"{names.COMPONENT}=Worker")["items"]
    return [each["metadata"]["name"] for each in found]


def _bind(cluster: ApiCluster, namespace: str, pod: str) -> None:
    """Endpoints are only made of pods on a node that exists; the namespace's has its name."""
    target = {"apiVersion": "v1", "kind": "Node", "name": namespace}
    binding = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": pod}, "target": target}
    path = f"/api/v1/namespaces/{namespace}/pods/{pod}/binding"
    cluster.kubectl("create", "--raw", path, "-f", "-", stdin=json.dumps(binding))


def _set_status(cluster: ApiCluster, namespace: str, pod: str, status: dict[str, Any]) -> None:
    patch = json.dumps({"status": status})
    cluster.kubectl("patch", "pod", pod, "-n", namespace, "--subresource=status", "--type=merge", "-p", patch)


def _own_address() -> str:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing
        except OSError:
            pytest.skip("this machine has no address but its loopback, which endpoints may not have")
        return str(probe.getsockname()[0])
