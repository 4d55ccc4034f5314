"""Rules of features that are switched on: a valid manifest with one thing wrong gives one violation."""

from __future__ import annotations

from typing import Any

import pytest

from dynamo_operator.validate import Context, validate
from tests.unit.operator_plane.validate.cases import Row, alpha, assert_only_violation, beta, wrong
from tests.unit.operator_plane.validate.manifests import (
    DECODE,
    IMAGE,
    MAIN,
    a_component,
    a_container,
    a_graph,
    an_alpha_graph,
    an_alpha_service,
    with_,
)

WORKER = "spec.components[1]"
RUNTIME = {"name": "runtime", "image": IMAGE, "restartPolicy": "Always"}
GPU = "nvidia.com/gpu"
GMS = a_component(
    podTemplate={"spec": {"containers": [a_container(resources={"limits": {GPU: "1"}})]}},
    experimental={"gpuMemoryService": {}},
)


@pytest.mark.parametrize(
    "row",
    [
        wrong(
            "reserved-container-of-a-frontend",
            beta("spec.components[0].podTemplate.spec.initContainers", [RUNTIME]),
            "spec.components[0].podTemplate.spec.initContainers[0].name",
            '"runtime"',
            "worker, prefill, decode",
        ),
        wrong(
            "reserved-container-that-ends",
            beta(f"{WORKER}.podTemplate.spec.initContainers", [{**RUNTIME, "restartPolicy": None}]),
            f"{WORKER}.podTemplate.spec.initContainers[0].restartPolicy",
            "nothing",
            "Always",
        ),
        wrong(
            "reserved-container-and-gpu-memory-service",
            with_(a_graph(GMS), "spec.components[0].podTemplate.spec.initContainers", [RUNTIME]),
            "spec.components[0].podTemplate.spec.initContainers[0].name",
            "with gpuMemoryService",
            "another name",
        ),
        wrong(
            "checkpoint",
            beta(f"{WORKER}.experimental", {"checkpoint": {"enabled": True, "job": {"gmsClientContainers": ["main"]}}}),
            f"{WORKER}.experimental.checkpoint",
            "enabled: true",
            "enabled: false",
        ),
        wrong(
            "checkpoint-of-a-service",
            alpha("spec.services[decode].checkpoint", {"enabled": True, "checkpointRef": "c"}),
            "spec.services[decode].checkpoint",
            "enabled: true",
            "enabled: false",
        ),
        wrong(
            "elastic-without-command",
            with_(beta(f"{MAIN}.args", ["--enable-elastic-ep"]), f"{WORKER}.multinode", {"nodeCount": 2}),
            f"{MAIN}.command",
            "nothing",
            "python3",
            Context(has_leader_worker_sets=True),
        ),
        wrong(
            "elastic-alone-without-command",
            with_(
                beta(f"{MAIN}.args", ["--enable-elastic-ep", "--data-parallel-backend=ray"]),
                "spec.backendFramework",
                "vllm",
            ),
            f"{MAIN}.command",
            "nothing",
            "python3",
        ),
        wrong(
            "power-limit-zero",
            beta(f"{WORKER}.podTemplate.metadata", {"annotations": {"dynamo.nvidia.com/gpu-power-limit": "0"}}),
            f"{WORKER}.podTemplate.metadata.annotations[dynamo.nvidia.com/gpu-power-limit]",
            '"0"',
            "positive whole number",
        ),
        wrong(
            "memory-service-without-gpu",
            beta(f"{WORKER}.experimental", {"gpuMemoryService": {}}),
            f"{WORKER}.experimental.gpuMemoryService",
            "none",
            "at least one GPU",
        ),
        wrong(
            "memory-service-on-frontend",
            beta("spec.components[0].experimental", {"gpuMemoryService": {}}),
            "spec.components[0].experimental.gpuMemoryService",
            'type "frontend"',
            "worker, prefill, decode",
        ),
        wrong(
            "memory-service-client-unknown",
            with_(a_graph(GMS), "spec.components[0].experimental.gpuMemoryService.extraClientContainers", ["mian"]),
            "spec.components[0].experimental.gpuMemoryService.extraClientContainers[0]",
            '"mian"',
            "main",
        ),
        wrong(
            "failover-without-memory-service",
            beta(f"{WORKER}.experimental", {"failover": {}}),
            f"{WORKER}.experimental.failover",
            "an empty object",
            "gpuMemoryService",
        ),
        wrong(
            "failover-mode-differs",
            with_(
                with_(a_graph(GMS), "spec.components[0].experimental.failover", {"mode": "InterPod"}),
                "metadata.annotations",
                {"nvidia.com/dynamo-kube-discovery-mode": "container"},
            ),
            "spec.components[0].experimental.failover.mode",
            "interpod",
            "intrapod",
        ),
        wrong(
            "failover-without-discovery-by-container",
            with_(a_graph(GMS), "spec.components[0].experimental.failover", {}),
            "spec.components[0].experimental.failover",
            "an empty object",
            "nvidia.com/dynamo-kube-discovery-mode",
        ),
        wrong(
            "memory-service-across-pods",
            a_graph({**GMS, "experimental": {"gpuMemoryService": {"mode": "InterPod"}}}),
            "spec.components[0].experimental.gpuMemoryService.mode",
            '"InterPod"',
            "IntraPod",
            Context(has_grove=True),
        ),
    ],
)
def test_one_wrong_thing_gives_one_violation(row: Row) -> None:
    assert_only_violation(*row)


def test_modes_across_pods_are_refused_on_every_pathway_at_each_feature() -> None:
    features = {"gpuMemoryService": {"mode": "InterPod"}, "failover": {"mode": "InterPod"}}
    for context in (Context(), Context(has_grove=True), Context(has_leader_worker_sets=True)):
        found = validate(a_graph({**GMS, "experimental": features}), context)
        assert [violation.path for violation in found] == [
            "spec.components[0].experimental.gpuMemoryService.mode",
            "spec.components[0].experimental.failover.mode",
        ]
        assert all("modes across pods are not implemented" in str(violation) for violation in found)
    service: dict[str, Any] = {
        "resources": {"limits": {"gpu": "1"}},
        "gpuMemoryService": {"enabled": True, "mode": "interPod"},
    }
    (violation,) = validate(with_(an_alpha_graph(), DECODE, an_alpha_service(**service)), Context(has_grove=True))
    assert violation.path == f"{DECODE}.gpuMemoryService.mode"
    assert violation.allowed == "intraPod"
