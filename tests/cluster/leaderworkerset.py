"""LeaderWorkerSet's real controller, from its own module's manifests, with the image built here.

Called by tests of multi-node graphs in a cluster that runs pods.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from tests.cluster.access import Access
from tests.cluster.commands import wait_until
from tests.cluster.errors import ClusterError
from tests.cluster.local.binaries import LEADERWORKERSET, module_folder
from tests.cluster.local.images import recipes

_NAMESPACE = "lws-system"
_WEBHOOK_DEADLINE_S = 30.0


def install_leaderworkerset(access: Access, cache: Path) -> None:
    """Applies the controller with its webhooks; returns when it is available. Its image must be loaded."""
    source = module_folder(cache, "sigs.k8s.io/lws", LEADERWORKERSET.version) / "config" / "default"
    documents = adapted(list(yaml.safe_load_all(access.kubectl("kustomize", source))))
    crds = [document for document in documents if document["kind"] == "CustomResourceDefinition"]
    access.install_crds(crds)
    access.apply(*(document for document in documents if document not in crds))
    access.kubectl("rollout", "status", "deployment", "-n", _NAMESPACE, "--timeout=90s")
    # A ready pod's Service is programmed a moment later, and until then every group is refused.
    what = "LeaderWorkerSet's webhook answers"
    wait_until(lambda: _takes_groups(access), what, deadline_s=_WEBHOOK_DEADLINE_S)


def a_group(name: str, size: int, pod_template: dict[str, Any]) -> dict[str, Any]:
    """One group of pods, all of one template."""
    spec = {"replicas": 1, "leaderWorkerTemplate": {"size": size, "workerTemplate": pod_template}}
    return {
        "apiVersion": "leaderworkerset.x-k8s.io/v1",
        "kind": "LeaderWorkerSet",
        "metadata": {"name": name},
        "spec": spec,
    }


def adapted(documents: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The manifests with the image built here, one replica, and a request that fits on a small machine."""
    for document in documents:
        if document["kind"] == "Deployment":
            document["spec"]["replicas"] = 1
            (container,) = document["spec"]["template"]["spec"]["containers"]
            container |= {
                "image": recipes.LEADERWORKERSET.reference,
                "imagePullPolicy": "IfNotPresent",
                "command": ["/program"],
                "resources": {"requests": {"cpu": "20m", "memory": "64Mi"}},
            }
            container["readinessProbe"] |= {"initialDelaySeconds": 0, "periodSeconds": 1}
    return documents


def _takes_groups(access: Access) -> bool:
    probe = a_group("probe", 1, {"spec": {"containers": [{"name": "main", "image": recipes.PAUSE.reference}]}})
    arguments = ("create", "--dry-run=server", "-n", _NAMESPACE, "-f", "-")
    try:
        access.kubectl(*arguments, stdin=json.dumps(probe))
    except ClusterError:
        return False
    return True
