"""The whole cluster does what tests of graphs rely on: our image runs restricted, names resolve, groups start."""

from __future__ import annotations

from typing import Any

import pytest

from tests.cluster.commands import wait_until
from tests.cluster.errors import ClusterError
from tests.cluster.leaderworkerset import a_group
from tests.cluster.local.cluster import LocalCluster, is_running
from tests.cluster.local.images.recipes import RUNTIME
from tests.cluster.port import Cluster

SYSTEM_PORT = 9090
OTHER_NAME = "dynamo/a-name-from-a-manifest:1.0"
RESTRICTED = {
    "readOnlyRootFilesystem": True,
    "runAsNonRoot": True,
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}


def a_mocker(name: str, image: str, **container: Any) -> dict[str, Any]:
    """A Deployment of one mocker behind the Service of `a_service`, as restricted as a pod can be."""
    env = {
        "DYN_SYSTEM_PORT": str(SYSTEM_PORT),
        "DYN_DISCOVERY_BACKEND": "file",
        "DYN_FILE_KV": "/tmp/discovery",
    }
    main = {
        "name": "main",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["python3", "-m", "dynamo.mocker", "--model-name", "mock-model"],
        "env": [{"name": key, "value": value} for key, value in env.items()],
        "readinessProbe": {"httpGet": {"path": "/health", "port": SYSTEM_PORT}, "periodSeconds": 1},
        "securityContext": RESTRICTED,
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],
        **container,
    }
    pod = {"containers": [main], "volumes": [{"name": "tmp", "emptyDir": {}}], "terminationGracePeriodSeconds": 2}
    labels = {"app": name}
    template = {"metadata": {"labels": labels}, "spec": pod}
    spec = {"replicas": 1, "selector": {"matchLabels": labels}, "template": template}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": spec}


def a_service(name: str) -> dict[str, Any]:
    spec = {"selector": {"app": name}, "ports": [{"port": 80, "targetPort": SYSTEM_PORT}]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec}


def until_available(cluster: Cluster, namespace: str, name: str) -> None:
    cluster.kubectl("rollout", "status", f"deployment/{name}", "-n", namespace, "--timeout=90s")


def test_our_runtime_serves_restricted_and_is_found_by_name(cluster: Cluster, pod_namespace: str) -> None:
    cluster.load_image(RUNTIME, OTHER_NAME)
    cluster.apply(a_mocker("worker", OTHER_NAME), a_service("worker"), namespace=pod_namespace)
    until_available(cluster, pod_namespace, "worker")
    address = f"http://worker.{pod_namespace}.svc.cluster.local/health"
    ask = f"import urllib.request; print(urllib.request.urlopen({address!r}, timeout=5).status)"

    def answers() -> bool:
        try:
            said = cluster.kubectl("exec", "-n", pod_namespace, "deploy/worker", "--", "python3", "-c", ask)
        except ClusterError:
            return False  # Service addresses follow a second after the pod is ready.
        return said.strip() == "200"

    wait_until(answers, f"{address} answers from a pod", deadline_s=30)


def test_pods_may_ask_for_gpus_that_only_exist_for_the_scheduler(cluster: Cluster, pod_namespace: str) -> None:
    if not isinstance(cluster, LocalCluster):
        pytest.skip("only the local cluster pretends to have GPUs")
    gpu = {"resources": {"limits": {"nvidia.com/gpu": "2"}}}
    cluster.apply(a_mocker("worker", RUNTIME.reference, **gpu), namespace=pod_namespace)
    until_available(cluster, pod_namespace, "worker")


def test_a_running_cluster_is_used_again(cluster: Cluster, pod_namespace: str) -> None:
    if not isinstance(cluster, LocalCluster):
        pytest.skip("only the local cluster is started here")
    assert is_running(cluster.cache)
    before = {name: cluster.machine.processes.pid(name) for name in cluster.machine.processes.names()}
    assert {"etcd", "kube-apiserver", "kubelet", "containerd", "kube-proxy"} <= set(before)
    cluster.kubectl("get", "namespace", pod_namespace)


def test_the_real_leaderworkerset_runs_a_group(cluster: Cluster, pod_namespace: str) -> None:
    if not isinstance(cluster, LocalCluster):
        pytest.skip("LeaderWorkerSet's image is built for the local cluster")
    cluster.install_leaderworkerset()
    pod = a_mocker("group", RUNTIME.reference)["spec"]["template"]
    cluster.apply(a_group("group", 2, pod), namespace=pod_namespace)
    cluster.kubectl("wait", "--for=condition=Available", "leaderworkerset/group", "-n", pod_namespace, "--timeout=90s")
    assert len(cluster.get("pods", "-n", pod_namespace)["items"]) == 2
