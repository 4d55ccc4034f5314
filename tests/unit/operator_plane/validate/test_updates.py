from __future__ import annotations

from typing import Any

import pytest

from dynamo_operator.validate import Context, validate, validate_update
from tests.unit.operator_plane.validate.manifests import (
    DECODE,
    MAIN,
    a_component,
    a_graph,
    a_model,
    a_standalone,
    an_alpha_graph,
    with_,
    without,
)

WORKER = "spec.components[1]"
POWER = "dynamo.nvidia.com/gpu-power-limit"
ADAPTED = with_(a_graph(), f"{WORKER}.scalingAdapter", {})
POWERED = with_(a_graph(), f"{WORKER}.podTemplate.metadata", {"annotations": {POWER: "300"}})
GROVE = Context(has_grove=True)
GROUPS = Context(has_leader_worker_sets=True)


def change(id: str, old: dict[str, Any], new: dict[str, Any], path: str, context: Context | None = None) -> Any:
    return pytest.param(old, new, path, context, id=id)


@pytest.mark.parametrize(
    ("old", "new", "path", "context"),
    [
        change(
            "component-added", a_graph(), with_(a_graph(), "spec.components[2]", a_component("x")), "spec.components"
        ),
        change("component-removed", a_graph(), a_graph(a_component("Frontend", "frontend")), "spec.components"),
        change("type", a_graph(), with_(a_graph(), f"{WORKER}.type", "prefill"), f"{WORKER}.type"),
        change(
            "alpha-sub-type",
            an_alpha_graph(),
            with_(an_alpha_graph(), f"{DECODE}.subComponentType", "prefill"),
            f"{DECODE}.subComponentType",
        ),
        change(
            "alpha-sub-type-removed",
            with_(an_alpha_graph(), f"{DECODE}.subComponentType", "prefill"),
            an_alpha_graph(),
            f"{DECODE}.subComponentType",
        ),
        change(
            "alpha-type-beside-a-sub-type",
            with_(an_alpha_graph(), f"{DECODE}.subComponentType", "prefill"),
            with_(
                with_(an_alpha_graph(), f"{DECODE}.subComponentType", "prefill"), f"{DECODE}.componentType", "planner"
            ),
            f"{DECODE}.componentType",
        ),
        change("type-removed", a_graph(), without(a_graph(), f"{WORKER}.type"), f"{WORKER}.type"),
        change(
            "backend",
            a_graph(backendFramework="vllm"),
            a_graph(backendFramework="sglang"),
            "spec.backendFramework",
        ),
        change("to-multinode", a_graph(), with_(a_graph(), f"{WORKER}.multinode", {}), f"{WORKER}.multinode", GROUPS),
        change(
            "min-available",
            with_(with_(a_graph(), f"{WORKER}.replicas", 2), f"{WORKER}.minAvailable", 1),
            with_(with_(a_graph(), f"{WORKER}.replicas", 2), f"{WORKER}.minAvailable", 2),
            f"{WORKER}.minAvailable",
            GROVE,
        ),
        change(
            "topology-removed",
            a_graph(topologyConstraint={"clusterTopologyName": "t", "packDomain": "rack"}),
            a_graph(),
            "spec.topologyConstraint",
            GROVE,
        ),
        change(
            "kv-transfer-changed",
            a_graph(experimental={"kvTransferPolicy": {"labelKey": "b", "domain": "rack"}}),
            a_graph(experimental={"kvTransferPolicy": {"labelKey": "a", "domain": "rack"}}),
            "spec.experimental.kvTransferPolicy",
        ),
        change(
            "provider",
            with_(a_graph(), "metadata.annotations", {"nvidia.com/workload-provider": "component"}),
            with_(a_graph(), "metadata.annotations", {"nvidia.com/workload-provider": "grove"}),
            "metadata.annotations[nvidia.com/workload-provider]",
            GROVE,
        ),
        change(
            "provider-removed",
            with_(a_graph(), "metadata.annotations", {"nvidia.com/workload-provider": "component"}),
            with_(a_graph(), "metadata.annotations", {}),
            "metadata.annotations[nvidia.com/workload-provider]",
        ),
        change("replicas-of-an-adapter", ADAPTED, with_(ADAPTED, f"{WORKER}.replicas", 3), f"{WORKER}.replicas"),
        change(
            "replicas-while-removing-the-adapter",
            ADAPTED,
            with_(a_graph(), f"{WORKER}.replicas", 3),
            f"{WORKER}.replicas",
        ),
        change(
            "restart-order-incomplete",
            a_graph(),
            a_graph(restart={"id": "1", "strategy": {"order": ["decode"]}}),
            "spec.restart.strategy.order",
        ),
        change(
            "restart-order-unknown",
            a_graph(),
            a_graph(restart={"id": "1", "strategy": {"order": ["Frontend", "decode", "decod"]}}),
            "spec.restart.strategy.order[2]",
        ),
        change(
            "restart-order-with-parallel",
            a_graph(),
            a_graph(restart={"id": "1", "strategy": {"type": "Parallel", "order": ["Frontend", "decode"]}}),
            "spec.restart.strategy.order",
        ),
        change(
            "restart-during-rolling-update",
            {**a_graph(), "status": {"rollingUpdate": {"phase": "InProgress"}}},
            a_graph(restart={"id": "1"}),
            "spec.restart.id",
        ),
        change(
            "power-limit",
            POWERED,
            with_(a_graph(), f"{WORKER}.podTemplate.metadata", {"annotations": {POWER: "400"}}),
            f"{WORKER}.podTemplate.metadata.annotations[{POWER}]",
        ),
        change(
            "gpus-under-a-power-limit",
            POWERED,
            with_(POWERED, f"{MAIN}.resources", {"limits": {"nvidia.com/gpu": 1}}),
            f"{MAIN}.resources",
        ),
        change("image-lost", a_graph(), without(a_graph(), f"{MAIN}.image"), f"{MAIN}.image"),
        change(
            "standalone-backend",
            with_(a_standalone(), "spec.backendFramework", "vllm"),
            a_standalone(),
            "spec.backendFramework",
        ),
        change("model-base", a_model(), a_model(baseModelName="z"), "spec.baseModelName"),
    ],
)
def test_a_forbidden_change_is_refused_at_its_field(
    old: dict[str, Any], new: dict[str, Any], path: str, context: Context | None
) -> None:
    violations = validate_update(old, new, context)
    assert [violation.path for violation in violations] == [path], [str(violation) for violation in violations]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        pytest.param(a_graph(), a_graph(), id="nothing"),
        pytest.param(a_graph(), with_(a_graph(), f"{WORKER}.replicas", 4), id="replicas-without-adapter"),
        pytest.param(a_graph(), a_graph(*reversed(a_graph()["spec"]["components"])), id="order-of-components"),
        pytest.param(a_graph(), a_graph(restart={"id": "1"}), id="restart"),
        pytest.param(a_graph(), ADAPTED, id="adapter-added"),
        pytest.param(without(a_graph(), f"{WORKER}.type"), a_graph(), id="type-set-for-the-first-time"),
        pytest.param(a_graph(), a_graph(backendFramework="vllm"), id="backend-set-for-the-first-time"),
        pytest.param(
            with_(a_graph(), f"{WORKER}.multinode", {"nodeCount": 2}),
            with_(a_graph(), f"{WORKER}.multinode", {"nodeCount": 4}),
            id="node-count",
        ),
    ],
)
def test_other_changes_are_accepted(old: dict[str, Any], new: dict[str, Any]) -> None:
    assert validate_update(old, new) == ()


def test_the_operator_may_set_replicas_that_an_adapter_owns() -> None:
    assert validate_update(ADAPTED, with_(ADAPTED, f"{WORKER}.replicas", 3), may_scale=True) == ()


def test_a_provider_is_recorded_at_creation_or_never() -> None:
    key = "nvidia.com/workload-provider"
    for provider in ("component", "grove"):
        recorded = with_(a_graph(), "metadata.annotations", {key: provider})
        assert validate(recorded, GROVE) == ()
        (violation,) = validate_update(a_graph(), recorded, GROVE, may_scale=True)
        assert violation.path == f"metadata.annotations[{key}]"
        assert "recorded only when a graph is created" in str(violation)


def test_a_graph_on_grove_stays_editable_while_grove_is_not_there() -> None:
    stored = with_(a_graph(priorityClassName="high"), "metadata.annotations", {"nvidia.com/workload-provider": "grove"})
    assert validate(stored)
    assert validate_update(stored, with_(stored, f"{WORKER}.replicas", 3)) == ()


def test_an_old_violation_does_not_block_an_unrelated_change() -> None:
    legacy = with_(a_graph(), f"{MAIN}.image", "r/runtime:latest")
    assert validate(legacy)
    assert validate_update(legacy, with_(legacy, f"{WORKER}.replicas", 3)) == ()
    (violation,) = validate_update(legacy, with_(legacy, f"{MAIN}.image", "r/runtime:nightly"))
    assert violation.path == f"{WORKER}.runtimeVersionOverride"


def test_an_object_that_is_being_deleted_can_lose_its_finalizers_whatever_else_is_wrong() -> None:
    dying = with_(a_graph(backendFramework="nonsense"), "metadata.deletionTimestamp", "2026-01-01T00:00:00Z")
    assert validate_update(a_graph(backendFramework="vllm"), dying) == ()


def test_another_role_is_told_by_the_word_that_changed() -> None:
    old = with_(an_alpha_graph(), f"{DECODE}.subComponentType", "prefill")
    (violation,) = validate_update(old, with_(old, f"{DECODE}.subComponentType", "decode"))
    assert (violation.path, violation.found, violation.allowed) == (
        f"{DECODE}.subComponentType",
        '"decode"',
        '"prefill"',
    )


def test_a_role_may_be_spelled_the_other_way() -> None:
    old = with_(an_alpha_graph(), f"{DECODE}.componentType", "prefill")
    new = with_(an_alpha_graph(), f"{DECODE}.subComponentType", "prefill")
    assert validate_update(old, new) == ()
