"""A cluster that somebody else runs, named by a kubeconfig.

Must not start, stop or load anything: whoever names the cluster has put the images of `make images` in its reach.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.access import Access
from tests.cluster.errors import ClusterUnavailable
from tests.cluster.local.images.recipes import Image


@dataclass(frozen=True)
class ExistingCluster(Access):
    @property
    def node(self) -> str:
        nodes = self.get("nodes")["items"]
        return str(next(node["metadata"]["name"] for node in nodes if not node["spec"].get("unschedulable")))

    def load_image(self, image: Image, *names: str) -> None:
        """Nothing to do: the images are there, under their names, or the test's pods will say that they aren't."""


def existing_cluster(kubeconfig: Path) -> ExistingCluster:
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        raise ClusterUnavailable(f"kubectl is needed on PATH to use the cluster of {kubeconfig}")
    if not kubeconfig.exists():
        raise ClusterUnavailable(f"DYNAMO_CLUSTER_KUBECONFIG names {kubeconfig}, which does not exist")
    return ExistingCluster(kubeconfig, kubectl)
