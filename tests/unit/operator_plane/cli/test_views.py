from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from dynamo_operator.cli.describing import Found, as_document, described
from dynamo_operator.cli.listing import chosen_views, graph_named
from dynamo_operator.cli.terminal import plain
from dynamo_operator.cli.views import VIEWS, age, pod_state
from dynamo_operator.local.errors import Refused

NOW = datetime(2026, 1, 2, tzinfo=UTC)


def a_pod(name: str = "p", **status: Any) -> dict[str, Any]:
    labels = {"nvidia.com/dynamo-component": "decode", "nvidia.com/dynamo-graph-deployment-name": "agg"}
    return {"metadata": {"name": name, "labels": labels}, "spec": {}, "status": {"phase": "Running", **status}}


def a_waiting(reason: str) -> list[dict[str, Any]]:
    return [{"name": "main", "restartCount": 2, "state": {"waiting": {"reason": reason}}}]


def a_graph(**status: Any) -> dict[str, Any]:
    metadata = {"name": "agg", "namespace": "shop", "generation": 2, "creationTimestamp": "2026-01-01T00:00:00Z"}
    return {
        "kind": "DynamoGraphDeployment",
        "metadata": metadata,
        "spec": {"components": [{"name": "decode"}]},
        "status": status,
    }


@pytest.mark.parametrize(
    ("made", "shown"),
    [
        ("2026-01-01T23:59:15Z", "45s"),
        ("2026-01-01T23:58:30Z", "90s"),
        ("2026-01-01T23:48:00Z", "12m"),
        ("2026-01-01T20:00:00Z", "4h"),
        ("2025-12-27T00:00:00Z", "6d"),
        (None, "-"),
        ("2026-01-03T00:00:00Z", "0s"),
    ],
)
def test_age_is_short(made: str | None, shown: str) -> None:
    assert age({"metadata": {"creationTimestamp": made} if made else {}}, NOW) == shown


@pytest.mark.parametrize(
    ("pod", "state"),
    [
        pytest.param(a_pod(), "Running", id="running"),
        pytest.param(a_pod(containerStatuses=a_waiting("CrashLoopBackOff")), "CrashLoopBackOff", id="crashing"),
        pytest.param(a_pod(initContainerStatuses=a_waiting("ImagePullBackOff")), "ImagePullBackOff", id="init"),
        pytest.param(a_pod(phase="Failed", reason="Evicted"), "Evicted", id="evicted"),
        pytest.param({"metadata": {"deletionTimestamp": "x"}, "status": {}}, "Terminating", id="terminating"),
        pytest.param({"metadata": {}}, "Unknown", id="nothing-said"),
    ],
)
def test_a_pods_state_says_why_it_does_not_run(pod: dict[str, Any], state: str) -> None:
    assert pod_state(pod) == state


@pytest.mark.parametrize("view", VIEWS, ids=lambda view: view.word)
def test_an_object_that_says_nothing_of_itself_still_has_a_whole_row(view: Any) -> None:
    table = view.table([{"metadata": {"name": "x", "labels": {}}}], NOW, is_wide=True, is_everywhere=True)

    assert [len(row) for row in table] == [len(view.headings) + 1] * 2
    assert table[1][1] == "x"


@pytest.mark.parametrize(
    ("word", "kinds"),
    [
        ("dgd", 1),
        ("graphs", 1),
        ("DynamoGraphDeployment", 1),
        ("dynamomodels.nvidia.com", 1),
        ("workers", 1),
        ("all", len(VIEWS)),
    ],
)
def test_kinds_have_the_names_that_people_type(word: str, kinds: int) -> None:
    assert len(chosen_views(word)) == kinds


def test_pods_are_not_listed_under_their_own_name() -> None:
    with pytest.raises(Refused, match="unknown kind 'pods'") as refusal:
        chosen_views("pods")

    assert refusal.value.hint.startswith("known: "), "models are nothing like pods"


@pytest.mark.parametrize("words", [["agg"], ["dgd/agg"], ["dgd", "agg"], ["dynamographdeployment.nvidia.com/agg"]])
def test_a_graph_may_be_named_as_kubectl_prints_it(words: list[str]) -> None:
    assert graph_named(*words) == "agg"


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        pytest.param(["dm/agg"], "found dm agg; only a graph", id="another-kind"),
        pytest.param(["all", "agg"], "found all agg; only a graph", id="every-kind"),
        pytest.param(["dgx/agg"], "unknown kind 'dgx'", id="no-kind"),
        pytest.param(["dgd", "one", "two"], "unknown kind 'one'", id="two-names"),
        pytest.param(["dgd", "dgd", "two"], "one graph at a time", id="the-kind-twice"),
    ],
)
def test_what_is_no_graphs_name_is_refused(words: list[str], complaint: str) -> None:
    with pytest.raises(Refused, match=complaint):
        graph_named(*words)


def test_describe_without_a_status_asks_for_the_operator() -> None:
    text = "\n".join(described(Found(a_graph(), (), (), (), ()), NOW, plain))

    assert "is the operator running?" in text
    assert "Events" not in text


def test_describe_says_when_the_status_is_behind_and_when_events_are_closed_to_us() -> None:
    graph = a_graph(observedGeneration=1, state="successful", conditions=[{"type": "Ready", "status": "True"}])

    text = "\n".join(described(Found(graph, (), (), (a_pod(),), None), NOW, plain))

    assert "has not seen the last change yet" in text
    assert "Events: not readable" in text


def test_describe_shows_generations_only_while_there_are_several() -> None:
    def deployment(hash8: str) -> dict[str, Any]:
        labels = {"nvidia.com/dynamo-worker-hash": hash8}
        status = {"component": {"replicas": 2, "availableReplicas": 1}}
        return {"metadata": {"name": f"d-{hash8}", "labels": labels}, "spec": {"name": "decode"}, "status": status}

    one = "\n".join(described(Found(a_graph(), [deployment("aaaa")], (), (), ()), NOW, plain))
    two = "\n".join(described(Found(a_graph(), [deployment("aaaa"), deployment("bbbb")], (), (), ()), NOW, plain))

    assert "Worker generations" not in one
    assert "bbbb         decode 1/2" in two


def test_a_description_for_programs_holds_the_objects_and_says_what_could_not_be_read() -> None:
    pod = a_pod()
    pod["metadata"]["managedFields"] = []

    document = as_document(Found(a_graph(), (), (), (pod,), None))

    assert list(document) == ["graph", "componentDeployments", "scalingAdapters", "pods", "events"]
    assert document["events"] is None
    assert "managedFields" not in document["pods"][0]["metadata"]
