"""What a review is answered: everything wrong at once, who may scale, and what is not looked at."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from dynamo_operator.validate import Context
from dynamo_operator.webhook import Verb, review_admission
from dynamo_operator.webhook.admission import field_class
from dynamo_operator.webhook.errors import MalformedReview
from tests.unit.operator_plane.validate.manifests import a_component, a_graph, a_model, an_alpha_graph, with_
from tests.unit.operator_plane.webhook.factories import OPERATOR, a_context, a_review

BOTH = pytest.mark.parametrize("verb", list(Verb))


def response(review: dict[str, Any], verb: Verb = Verb.VALIDATE, cluster: Context | None = None) -> dict[str, Any]:
    answer = review_admission(review, a_context(cluster), verb).review
    assert (answer["apiVersion"], answer["kind"]) == ("admission.k8s.io/v1", "AdmissionReview")
    assert answer["response"]["uid"] == "u-1"
    return dict(answer["response"])


def causes(answer: dict[str, Any]) -> list[str]:
    return [cause["field"] for cause in answer["status"]["details"]["causes"]]


@BOTH
def test_all_violations_come_in_one_answer_that_kubectl_prints_by_field(verb: Verb) -> None:
    manifest = with_(with_(a_graph(), "spec.components[0].replicas", -1), "spec.components[1].type", "wrker")
    answer = response(a_review(manifest), verb)
    assert answer["allowed"] is False
    status = answer["status"]
    assert (status["code"], status["reason"]) == (422, "Invalid")
    assert (status["details"]["kind"], status["details"]["name"]) == ("DynamoGraphDeployment", "g")
    assert causes(answer) == ["spec.components[0].replicas", "spec.components[1].type"]
    assert status["details"]["causes"][0]["message"] == "too small (found -1, allowed: at least 0)"
    assert status["message"].startswith('DynamoGraphDeployment "g" is invalid: spec.components[0].replicas: too small')


def test_fields_are_named_as_their_author_wrote_them() -> None:
    manifest = with_(an_alpha_graph(), "spec.services[decode].replicas", -1)
    assert causes(response(a_review(manifest), Verb.MUTATE)) == ["spec.services[decode].replicas"]


def test_a_line_break_in_a_key_stays_in_its_line() -> None:
    answer = response(a_review(a_graph(annotations={"a\nb": 1})))
    assert all("\n" not in cause["field"] + cause["message"] for cause in answer["status"]["details"]["causes"])


@BOTH
@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"subResource": "status"}, id="status"),
        pytest.param({"operation": "DELETE", "object": None}, id="deletion"),
        pytest.param({"operation": "CONNECT", "object": None}, id="connection"),
    ],
)
def test_what_changes_no_spec_passes_unseen(verb: Verb, change: dict[str, Any]) -> None:
    broken = with_(a_graph(), "spec.components[0].replicas", -1)
    assert response(a_review(broken, a_graph()), verb)["allowed"] is False
    assert response(a_review(broken, a_graph(), **change), verb) == {"uid": "u-1", "allowed": True}


@BOTH
def test_a_terminating_object_passes_unseen_so_that_its_finalizers_can_go(verb: Verb) -> None:
    broken = with_(a_graph(a_component(replicas=None)), "metadata.deletionTimestamp", "2026-01-01T00:00:00Z")
    broken["spec"]["components"][0]["type"] = "wrker"
    assert response(a_review(broken, broken), verb) == {"uid": "u-1", "allowed": True}


@pytest.mark.parametrize(
    ("user", "namespace", "is_allowed"),
    [
        pytest.param("jane", "team", False, id="a-person"),
        pytest.param(OPERATOR, "team", True, id="the-operator"),
        pytest.param("system:serviceaccount:team:planner-serviceaccount", "team", True, id="the-graphs-planner"),
        pytest.param("system:serviceaccount:other:planner-serviceaccount", "team", False, id="a-foreign-planner"),
        pytest.param("system:serviceaccount:team:other", "team", False, id="another-account"),
    ],
)
def test_replicas_behind_an_adapter_are_for_operator_and_planner(user: str, namespace: str, is_allowed: bool) -> None:
    old = a_graph(a_component(scalingAdapter={}))
    new = with_(old, "spec.components[0].replicas", 4)
    answer = response(a_review(new, old, userInfo={"username": user}, namespace=namespace))
    assert answer["allowed"] is is_allowed
    if not is_allowed:
        assert causes(answer) == ["spec.components[0].replicas"]


@pytest.mark.parametrize(
    ("phase", "is_allowed"), [("InProgress", False), ("Pending", False), ("Completed", True), ("", True)]
)
def test_a_restart_waits_for_the_end_of_a_rolling_update(phase: str, is_allowed: bool) -> None:
    old = a_graph() | {"status": {"rollingUpdate": {"phase": phase}}}
    new = with_(old, "spec.restart.id", "again")
    assert response(a_review(new, old))["allowed"] is is_allowed


def test_a_restart_is_unset_on_creation() -> None:
    assert causes(response(a_review(a_graph(restart={"id": "1"})))) == ["spec.restart"]


def test_an_object_from_before_a_rule_stays_editable_but_gets_no_new_mistake() -> None:
    old = with_(a_graph(), "spec.components[0].replicas", -1)
    assert response(a_review(with_(old, "metadata.labels", {"a": "b"}), old))["allowed"] is True
    worse = with_(old, "spec.components[1].replicas", -2)
    assert causes(response(a_review(worse, old))) == ["spec.components[1].replicas"]


def test_names_are_judged_in_the_namespace_of_the_request() -> None:
    manifest = a_graph(name="g" * 30)
    assert response(a_review(manifest))["allowed"] is True
    assert causes(response(a_review(manifest, namespace="n" * 40))) == ["metadata.name"]


def test_warnings_leave_out_what_the_api_server_says_by_itself() -> None:
    manifest = with_(an_alpha_graph(), "spec.services[decode].autoscaling", {"enabled": True})
    answer = response(a_review(manifest))
    assert answer["allowed"] is True
    assert [line.split(" ")[0] for line in answer["warnings"]] == ["spec.services[decode].autoscaling"]
    assert "warnings" not in response(a_review(manifest), Verb.MUTATE)


def test_facts_of_the_cluster_decide() -> None:
    graph = with_(a_graph(), "spec.priorityClassName", "high")
    assert response(a_review(graph), cluster=Context(has_grove=True))["allowed"] is True
    assert causes(response(a_review(graph))) == ["spec.priorityClassName"]


def a_spanning_graph(flags: str = "--tensor-parallel-size 16") -> dict[str, Any]:
    """Breaks no rule, and spans two nodes with nothing to split the engine over."""
    main = {"name": "main", "image": "vllm:1.5.0", "command": ["python3", "-m", "dynamo.vllm"], "args": flags.split()}
    pods = {"spec": {"containers": [main]}}
    return a_graph(
        a_component("Frontend", "frontend"), a_component("decode", multinode={"nodeCount": 2}, podTemplate=pods)
    )


def test_what_cannot_be_rendered_is_refused_at_its_component() -> None:
    cluster = Context(has_leader_worker_sets=True)
    answer = response(a_review(a_spanning_graph()), cluster=cluster)
    assert causes(answer) == ["spec.components[1]"]
    assert "asks for no whole number of GPUs (allowed: set resources.limits" in answer["status"]["message"]


def test_what_could_not_be_rendered_before_stays_editable() -> None:
    cluster = Context(has_leader_worker_sets=True)
    old = a_spanning_graph()
    assert response(a_review(with_(old, "spec.components[0].replicas", 2), old), cluster=cluster)["allowed"] is True
    worse = a_spanning_graph("--tensor-parallel-size sixteen")
    assert causes(response(a_review(worse, old), cluster=cluster)) == ["spec.components[1]"]


def test_a_model_keeps_its_base() -> None:
    assert response(a_review(a_model()))["allowed"] is True
    changed = a_model(baseModelName="x/other")
    assert causes(response(a_review(changed, a_model()))) == ["spec.baseModelName"]


def test_the_review_is_not_changed() -> None:
    review = a_review(a_graph(a_component(replicas=None)))
    before = copy.deepcopy(review)
    review_admission(review, a_context(), Verb.MUTATE)
    assert review == before


@pytest.mark.parametrize(
    "review",
    [
        pytest.param([], id="a-list"),
        pytest.param({"kind": "Pod", "apiVersion": "v1"}, id="another-kind"),
        pytest.param(a_review(a_graph()) | {"apiVersion": "admission.k8s.io/v1beta1"}, id="another-version"),
        pytest.param(a_review(a_graph()) | {"request": None}, id="no-request"),
        pytest.param(a_review(a_graph(), uid=None), id="no-uid"),
        pytest.param(a_review(a_graph(), object=None), id="no-object"),
        pytest.param(a_review(a_graph(), object={"metadata": 3}), id="no-metadata"),
    ],
)
def test_what_is_no_review_is_said_to_be_none(review: Any) -> None:
    with pytest.raises(MalformedReview, match=r"found .*; allowed: "):
        review_admission(review, a_context(), Verb.VALIDATE)


def test_field_classes_have_neither_indices_nor_keys() -> None:
    assert field_class("spec.services[decode].resources.limits[nvidia.com/gpu]") == "spec.services.resources.limits"
