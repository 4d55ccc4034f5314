"""The graphs of the benchmark: three components and four pods each."""

from __future__ import annotations

from typing import Any

COMPONENTS = 3
PODS = 4
# For each Deployment, Kubernetes' own controller looks through all ReplicaSets of its namespace.
GRAPHS_PER_NAMESPACE = 100


def namespaces(graphs: int) -> list[str]:
    return [f"graphs-{number}" for number in range((graphs - 1) // GRAPHS_PER_NAMESPACE + 1)]


def a_graph(number: int) -> dict[str, Any]:
    """A disaggregated graph: one frontend, two decode workers, one prefill worker."""
    components = [
        _component("Frontend", "frontend", 1, "dynamo.frontend"),
        _component("Decode", "decode", 2, "dynamo.vllm"),
        _component("Prefill", "prefill", 1, "dynamo.vllm"),
    ]
    return {
        "apiVersion": "nvidia.com/v1beta1",
        "kind": "DynamoGraphDeployment",
        "metadata": {"name": f"graph-{number:04}", "namespace": f"graphs-{number // GRAPHS_PER_NAMESPACE}"},
        "spec": {"components": components},
    }


def _component(name: str, type_: str, replicas: int, module: str) -> dict[str, Any]:
    main = {"name": "main", "image": "dynamo/engine:1.5.0", "command": ["python3", "-m", module]}
    return {"name": name, "type": type_, "replicas": replicas, "podTemplate": {"spec": {"containers": [main]}}}
