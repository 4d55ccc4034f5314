"""LeaderWorkerSet's real controller, from its own module's manifests, with the image built here.

Called by tests of multi-node graphs in a cluster that runs pods.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from tests.cluster.access import Access
from tests.cluster.local.binaries import LEADERWORKERSET, module_folder
from tests.cluster.local.images import recipes

_NAMESPACE = "lws-system"


def install_leaderworkerset(access: Access, cache: Path) -> None:
    """Applies the controller with its webhooks; returns when it is available. Its image must be loaded."""
    source = module_folder(cache, "sigs.k8s.io/lws", LEADERWORKERSET.version) / "config" / "default"
    documents = adapted(list(yaml.safe_load_all(access.kubectl("kustomize", source))))
    crds = [document for document in documents if document["kind"] == "CustomResourceDefinition"]
    access.install_crds(crds)
    access.apply(*(document for document in documents if document not in crds))
    rollout = ("rollout", "status", "deployment", "-n", _NAMESPACE, "--timeout=90s")
    access.kubectl(*rollout)


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
