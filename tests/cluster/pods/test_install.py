"""The chart on a real cluster: what `helm install --wait` promises holds at once."""

from __future__ import annotations

import json

import pytest

from tests.cluster.errors import ClusterError
from tests.cluster.pods.graphs import example
from tests.cluster.pods.release import Release
from tests.cluster.port import Cluster


def test_an_apply_right_after_the_install_is_admitted(release: Release, cluster: Cluster, pod_namespace: str) -> None:
    """The fixture has just returned from `helm install --wait`: nothing waits in between."""
    text = json.dumps(example("agg-router.yaml"))
    cluster.kubectl("apply", "--dry-run=server", "-n", pod_namespace, "-f", "-", stdin=text)


def test_a_bad_graph_is_refused_with_its_field(release: Release, cluster: Cluster, pod_namespace: str) -> None:
    document = example("agg-router.yaml")
    document["spec"]["components"][1]["replicas"] = -2
    document["spec"]["components"][0]["podTemplate"]["spec"]["containers"][0].pop("image")
    with pytest.raises(ClusterError, match=r"spec\.components\[1\]\.replicas"):
        cluster.kubectl("apply", "-n", pod_namespace, "-f", "-", stdin=json.dumps(document))


def test_helm_test_passes(release: Release) -> None:
    assert "Phase:          Succeeded" in release.test()
