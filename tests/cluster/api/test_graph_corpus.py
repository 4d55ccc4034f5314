"""Manifests that upstream accepts, on a real API server: a new process finds nothing to write after the first pass."""

from __future__ import annotations

import pytest

from dynamo_operator.convert import to_v1beta1
from dynamo_operator.kube import Client
from tests.cluster.api.graph_stage import Stage
from tests.cluster.local.api_only import ApiCluster
from tests.unit.operator_plane.render.corpus import Case, cases, load


@pytest.mark.skipif(not cases(), reason="the corpus is not here (set DYNAMO_SHARED to its folder)")
@pytest.mark.timeout(600)
async def test_second_pass_over_any_manifest_writes_nothing(api_cluster: ApiCluster, kube: Client) -> None:
    rewritten = {}
    for case in {case.manifest: case for case in cases() if case.pathway == "component"}.values():
        with api_cluster.namespace() as namespace:
            stage, name = Stage(kube, namespace), _apply(case, api_cluster, namespace)
            await stage.pass_(name)
            first = list(stage.mortal.writes)
            stage.mortal.writes.clear()
            stage.restart()
            await stage.pass_(name)
            again = [write for write in stage.mortal.writes if write.startswith("apply")]
            if again or not first:
                rewritten[case.manifest] = again
    assert rewritten == {}


def _apply(case: Case, api_cluster: ApiCluster, namespace: str) -> str:
    (document,) = (each for each in load(case.source) if each["kind"] == "DynamoGraphDeployment")
    beta = to_v1beta1(document)
    metadata = {key: value for key, value in beta["metadata"].items() if key != "namespace"}
    api_cluster.apply({**beta, "metadata": metadata}, namespace=namespace)
    return str(metadata["name"])
