"""What graphs and component deployments report, and when that is written or told."""

from __future__ import annotations

from typing import Any

import pytest

from dynamo_operator.api import Component
from dynamo_operator.kube import Live
from dynamo_operator.kube.objects import DEPLOYMENT, GRAPH
from dynamo_operator.plan.changes import Urgency, graph_changes, urgency
from dynamo_operator.plan.features import features, served_model
from dynamo_operator.plan.restart import Restart
from dynamo_operator.plan.status import (
    Report,
    Standing,
    component_deployment_status,
    component_status,
    graph_status,
    refused_status,
)
from dynamo_operator.plan.workloads import Workload, read_workload
from tests.unit.operator_plane.plan.lives import a_deployment, a_live
from tests.unit.operator_plane.render.factories import a_component, a_graph

NOW, LATER = "2026-01-01T00:00:00Z", "2026-01-01T00:01:00Z"


def component(**fields: Any) -> Component:
    return a_graph(a_component(replicas=2, **fields)).components[0]


def a_standing(live: Live | None = None, *old: Live, **fields: Any) -> Standing:
    workload = read_workload(live) if live else None
    olds: tuple[Workload, ...] = tuple(read_workload(each) for each in old)
    return Standing(component(**fields), "g-worker", DEPLOYMENT, "g-worker", workload, olds, "ns-g-abc")


def a_report(*standings: Standing, is_rolling: bool = False, restart: Any = None, failures: Any = ()) -> Report:
    return Report(standings, (), is_rolling, Restart({}, restart), tuple(failures))


def a_root(status: Any = None, generation: int = 3) -> Live:
    return a_live(GRAPH, "g", generation=generation, spec={}, status=status or {})


def verdict(report: Report) -> tuple[str, str, str]:
    status = graph_status(a_root(), report, NOW)
    (ready,) = status["conditions"]
    return status["state"], ready["status"], ready["reason"]


@pytest.mark.parametrize(
    ("report", "expected"),
    [
        pytest.param(
            a_report(a_standing(a_deployment())), ("successful", "True", "all_resources_are_ready"), id="ready"
        ),
        pytest.param(a_report(a_standing()), ("pending", "False", "some_resources_are_not_ready"), id="not-made-yet"),
        pytest.param(
            a_report(a_standing(a_deployment(updated=1))),
            ("pending", "False", "some_resources_are_not_ready"),
            id="old-pods-satisfy-the-count",
        ),
        pytest.param(
            a_report(a_standing(a_deployment(1))), ("pending", "False", "some_resources_are_not_ready"), id="not-scaled"
        ),
        pytest.param(
            a_report(a_standing(a_deployment()), is_rolling=True),
            ("pending", "False", "rolling_update_in_progress"),
            id="an-old-generation-left",
        ),
        pytest.param(
            a_report(a_standing(a_deployment()), failures=["Service x: no"]),
            ("failed", "False", "failed_to_reconcile_the_resources"),
            id="a-failure-though-pods-are-ready",
        ),
        pytest.param(
            a_report(
                a_standing(a_deployment()), restart={"observedID": "1", "phase": "Restarting", "inProgress": ["w"]}
            ),
            ("pending", "False", "updating"),
            id="restarting",
        ),
    ],
)
def test_graph_is_ready_only_when_all_of_it_is(report: Report, expected: tuple[str, str, str]) -> None:
    assert verdict(report) == expected


def test_condition_keeps_the_time_since_when_it_holds() -> None:
    first = graph_status(a_root(), a_report(a_standing()), NOW)
    still = graph_status(a_root(first), a_report(a_standing(a_deployment(available=1))), LATER)
    ready = graph_status(a_root(still), a_report(a_standing(a_deployment())), LATER)
    assert [each["conditions"][0]["lastTransitionTime"] for each in (first, still, ready)] == [NOW, NOW, LATER]


def test_same_facts_give_the_same_status_at_another_time() -> None:
    report = a_report(a_standing(a_deployment()))
    first = graph_status(a_root(), report, NOW)
    assert graph_status(a_root(first), report, LATER) == first


def test_counts_are_of_all_generations_and_updated_ones_of_the_new() -> None:
    status = component_status(a_standing(a_deployment(1), a_deployment(3, metadata={"name": "old"})))
    counts = {key: status[key] for key in ("replicas", "updatedReplicas", "readyReplicas", "availableReplicas")}
    assert counts == {"replicas": 4, "updatedReplicas": 1, "readyReplicas": 4, "availableReplicas": 4}
    assert status["componentKind"] == "Deployment"
    assert len(status["componentNames"]) == 2
    assert status["runtimeNamespace"] == "ns-g-abc"
    assert "scheduledReplicas" not in status


def test_rollout_is_not_completed_before_the_new_generation_is_whole() -> None:
    rolling = graph_status(a_root(), a_report(a_standing(a_deployment()), is_rolling=True), NOW)
    settling = graph_status(a_root(rolling), a_report(a_standing(a_deployment(available=1))), LATER)
    done = graph_status(a_root(settling), a_report(a_standing(a_deployment())), LATER)

    assert [each["rollingUpdate"]["phase"] for each in (rolling, settling, done)] == ["InProgress"] * 2 + ["Completed"]
    assert (done["rollingUpdate"]["startTime"], done["rollingUpdate"]["endTime"]) == (NOW, LATER)
    assert settling["state"] == "pending"


def test_refusal_keeps_what_was_known_of_components() -> None:
    before = graph_status(a_root(), a_report(a_standing(a_deployment())), NOW)
    status = refused_status(a_root(before), "ValidationFailed", "spec.components[0].name: no", LATER)
    assert status["state"] == "failed"
    shown = {key: value for key, value in before["components"]["Worker"].items() if not key.startswith("gpus")}
    assert status["components"] == {"Worker": shown}
    assert status["conditions"][0]["message"] == "spec.components[0].name: no"


def test_component_deployment_reports_both_conditions() -> None:
    live = a_live(spec={}, generation=2)
    ready = component_deployment_status(live, a_standing(a_deployment()), (), NOW)
    lacking = component_deployment_status(live, a_standing(a_deployment(available=1)), (), NOW)
    assert [each["reason"] for each in ready["conditions"]] == ["DeploymentReady", "ComponentReady"]
    assert [each["reason"] for each in lacking["conditions"]] == ["DeploymentNotReady", "ComponentNotReady"]
    assert ready["observedGeneration"] == 2


def test_news_are_written_at_once_and_counts_later() -> None:
    none = graph_status(a_root(), a_report(a_standing(a_deployment(available=0))), NOW)
    one = graph_status(a_root(none), a_report(a_standing(a_deployment(available=1))), NOW)
    ready = graph_status(a_root(one), a_report(a_standing(a_deployment())), NOW)
    assert urgency({}, none) is Urgency.NOW
    assert urgency(none, none) is Urgency.NONE
    assert urgency(none, one) is Urgency.LATER
    assert urgency(one, ready) is Urgency.NOW
    assert urgency(ready, {**ready, "observedGeneration": 9}) is Urgency.NOW


def test_first_status_of_a_component_deployment_may_wait_unless_it_is_ready() -> None:
    live = a_live(spec={})
    assert urgency({}, component_deployment_status(live, a_standing(), (), NOW)) is Urgency.LATER
    assert urgency({}, component_deployment_status(live, a_standing(a_deployment()), (), NOW)) is Urgency.NOW


def test_each_transition_is_told_once() -> None:
    pending = graph_status(a_root(), a_report(a_standing()), NOW)
    rolling = graph_status(a_root(pending), a_report(a_standing(a_deployment()), is_rolling=True), NOW)
    done = graph_status(a_root(rolling), a_report(a_standing(a_deployment())), NOW)
    told = [graph_changes(*pair) for pair in (({}, pending), (pending, pending), (pending, rolling), (rolling, done))]
    assert [[change.reason for change in changes] for changes in told] == [
        ["Reconciling"],
        [],
        ["RollingUpdateStarted"],
        ["Ready", "RollingUpdateCompleted"],
    ]


@pytest.mark.parametrize(
    ("main", "model"),
    [
        pytest.param({"args": ["--model", "a/b"]}, "a/b", id="words"),
        pytest.param({"args": ["--model=a/b"]}, "a/b", id="equals"),
        pytest.param({"args": ["--model", "a/b", "--served-model-name", "c"]}, "c", id="served-name-wins"),
        pytest.param({"command": ["sh", "-c"], "args": ["exec python3 -m dynamo.vllm --model a/b"]}, "a/b", id="shell"),
        pytest.param({"args": ["--model-path", "/m"]}, "/m", id="path"),
        pytest.param({"args": ["it's --model x"]}, "x", id="unbalanced-quote"),
        pytest.param({"args": ["--model"]}, None, id="no-value"),
        pytest.param({}, None, id="none"),
    ],
)
def test_served_model_is_read_from_the_command(main: Any, model: str | None) -> None:
    assert served_model(component(main=main)) == model


@pytest.mark.parametrize("amount", ["4", 4, "4.0", "4000m"])
def test_gpus_count_all_nodes_of_an_engine(amount: object) -> None:
    limits = {"resources": {"limits": {"nvidia.com/gpu": amount, "cpu": "8"}}}
    found = features(component(main=limits, multinode={"nodeCount": 2}))
    assert (found["gpusPerEngine"], found["gpusPerReplica"]) == (8, 8)
    assert features(component())["gpusPerEngine"] == 0
