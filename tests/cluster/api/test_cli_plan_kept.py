"""What `dynamo plan` announces is what the operator then does."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from dynamo_operator.kube import Client
from tests.cluster.api.graph_stage import Stage
from tests.cluster.local.api_only import ApiCluster

DYNAMO = Path(sys.executable).with_name("dynamo")
NAME = "kept"


@pytest.fixture
def stage(kube: Client, api_namespace: str) -> Stage:
    return Stage(kube, api_namespace)


def a_graph(image: str) -> dict[str, Any]:
    def component(name: str, replicas: int) -> dict[str, Any]:
        main = {"name": "main", "image": f"{image}:1.5.0"}
        pods = {"spec": {"containers": [main]}}
        return {"name": name, "type": name, "replicas": replicas, "podTemplate": pods}

    spec = {"components": [component("frontend", 1), component("prefill", 2), component("decode", 2)]}
    metadata = {"name": NAME}
    return {"apiVersion": "nvidia.com/v1beta1", "kind": "DynamoGraphDeployment", "metadata": metadata, "spec": spec}


def names(stage: Stage) -> set[str]:
    """Everything in the namespace, shared accounts included."""
    return {
        each.replace(stage.namespace + "/", "").replace(" ", "/")
        for each in stage.tree()
        if each.rpartition("/")[2] != NAME
    }


async def test_the_operator_makes_changes_and_deletes_what_the_plan_said(
    api_cluster: ApiCluster, stage: Stage, tmp_path: Path
) -> None:
    before, after = tmp_path / "before.json", tmp_path / "after.json"
    before.write_text(json.dumps(a_graph("one")))
    after.write_text(json.dumps(a_graph("two")))

    async def plan(file: Path) -> dict[str, Any]:
        words = [
            DYNAMO,
            "plan",
            "-f",
            file,
            "-o",
            "json",
            "-n",
            stage.namespace,
            "--kubeconfig",
            api_cluster.kubeconfig,
        ]
        answer = await asyncio.to_thread(subprocess.run, words, capture_output=True, text=True, timeout=60)
        (found,) = json.loads(answer.stdout)["plans"]
        return found

    first = await plan(before)
    await _apply(api_cluster, before, stage)
    made = names(stage)
    second = await plan(after)
    await _apply(api_cluster, after, stage)
    now = names(stage)

    assert announced(first, "create") - {f"DynamoGraphDeployment/{NAME}"} == made
    assert announced(second, "create") == now - made
    assert announced(second, "delete") == made - now
    settled = await plan(after)
    assert (settled["fields"], settled["objects"], settled["components"]) == ([], [], [])


def announced(found: dict[str, Any], action: str) -> set[str]:
    return {f"{each['kind']}/{each['name']}" for each in found["objects"] if each["action"] == action}


async def _apply(cluster: ApiCluster, file: Path, stage: Stage) -> None:
    await asyncio.to_thread(cluster.kubectl, "apply", "-n", stage.namespace, "-f", file)

    def is_done(stage: Stage) -> bool:
        deployments = [each for each in names(stage) if each.startswith("Deployment/")]
        return stage.is_successful(NAME) and len(deployments) == 3

    await stage.until(NAME, is_done)
