"""A namespace with a pod that a test announces workers from, and the slice that calls the pod ready."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from dynamo.discovery.cluster.api import Connect, connector
from dynamo.discovery.cluster.discovery import ClusterDiscovery
from dynamo.discovery.cluster.identity import Pod
from dynamo.discovery.cluster.reflector import Pace
from dynamo.discovery.cluster.registry import ClusterRegistry
from dynamo.discovery.cluster.sight import DISCOVERY_LABELS
from tests.cluster.access import Access

QUICK = Pace(watch_s=5, retry_first_s=0.05, retry_most_s=0.5)
POD_ADDRESS = "10.1.0.7"


@dataclass
class DiscoveryStage:
    """Verbs of the cluster that a worker and its watchers see."""

    access: Access
    namespace: str
    mode: str = "pod"
    pods: dict[str, Pod] = field(default_factory=dict)

    @property
    def connect(self) -> Connect:
        return connector({"KUBECONFIG": str(self.access.kubeconfig)})[0]

    def add_pod(self, name: str = "w", labels: dict[str, str] | None = None) -> Pod:
        containers = [{"name": "main", "image": "dynamo/none:1"}, {"name": "second", "image": "dynamo/none:1"}]
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "labels": DISCOVERY_LABELS if labels is None else labels},
            "spec": {"containers": containers, "automountServiceAccountToken": False},
        }
        self.access.apply(pod, namespace=self.namespace)
        uid = self.access.get("pod", name, "-n", self.namespace)["metadata"]["uid"]
        self.pods[name] = Pod(name, uid, self.namespace)
        return self.pods[name]

    def set_slice(
        self,
        pod: Pod,
        address: str = POD_ADDRESS,
        *,
        is_ready: bool = True,
        labels: dict[str, str] | None = None,
        uid: str | None = None,
    ) -> None:
        """Says what the endpoint controller would say of the pod."""
        target = {"kind": "Pod", "name": pod.name, "namespace": pod.namespace, "uid": uid or pod.uid}
        endpoint = {"addresses": [address], "conditions": {"ready": is_ready}, "targetRef": target}
        labels = DISCOVERY_LABELS if labels is None else labels
        self.access.apply(
            {
                "apiVersion": "discovery.k8s.io/v1",
                "kind": "EndpointSlice",
                "metadata": {"name": f"s-{pod.name}", "labels": labels},
                "addressType": "IPv4",
                "endpoints": [endpoint],
                "ports": [{"name": "system", "port": 9090}],
            },
            namespace=self.namespace,
        )

    def set_containers(self, pod: Pod, ready: dict[str, bool], address: str = POD_ADDRESS) -> None:
        """Says what a kubelet would say of the pod's containers."""
        statuses = [
            {"name": name, "ready": is_ready, "image": "x", "imageID": "x", "restartCount": 0}
            for name, is_ready in ready.items()
        ]
        status = {"phase": "Running", "podIP": address, "podIPs": [{"ip": address}], "containerStatuses": statuses}
        patch = ["--subresource=status", "--type=merge", "-p", json.dumps({"status": status})]
        self.access.kubectl("patch", "pod", pod.name, "-n", self.namespace, *patch)

    def registry(self, pod: Pod, **changes: Any) -> ClusterRegistry:
        return ClusterRegistry(self.connect, pod, QUICK, **changes)

    def discovery(self, mode: str = "pod") -> ClusterDiscovery:
        return ClusterDiscovery(self.connect, self.namespace, mode, QUICK)

    def announcement(self, name: str = "w") -> dict[str, Any] | None:
        """The DynamoWorkerMetadata of that name."""
        items: list[dict[str, Any]] = self.access.get("dynamoworkermetadatas", "-n", self.namespace)["items"]
        return next((item for item in items if item["metadata"]["name"] == name), None)
