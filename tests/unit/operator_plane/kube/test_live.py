"""Reading from managedFields which part of a document is ours."""

from __future__ import annotations

from typing import Any

import pytest

from dynamo_operator.kube import live_of, pack
from dynamo_operator.kube.live import adopted_fields, owned_fields, project, without_foreign_fields
from dynamo_operator.kube.objects import DEPLOYMENT

OURS = {"manager": "dynamo-operator", "operation": "Apply", "fieldsV1": {"f:spec": {"f:replicas": {}}}}
UPSTREAMS = {
    "manager": "manager",
    "operation": "Update",
    "apiVersion": "apps/v1",
    "fieldsV1": {"f:spec": {"f:replicas": {}}},
}
THEIRS = {"manager": "kubectl", "operation": "Update", "fieldsV1": {"f:spec": {"f:paused": {}}}}


def a_raw(*managed: dict[str, Any]) -> dict[str, Any]:
    return {
        "metadata": {
            "name": "d",
            "namespace": "shop",
            "uid": "u1",
            "resourceVersion": "7",
            "generation": 3,
            "labels": {"a": "1"},
            "ownerReferences": [{"uid": "other"}, {"uid": "owner", "controller": True}],
            "managedFields": list(managed),
        },
        "spec": {"replicas": 2, "paused": True},
    }


@pytest.mark.parametrize(
    ("value", "fields", "expected"),
    [
        pytest.param({"a": 1, "b": 2}, {"f:a": {}}, {"a": 1}, id="map-key"),
        pytest.param({"a": {"x": 1, "y": 2}}, {"f:a": {}}, {"a": {"x": 1, "y": 2}}, id="leaf-owns-all-beneath"),
        pytest.param({"a": {"x": 1}}, {"f:a": {".": {}, "f:x": {}}}, {"a": {"x": 1}}, id="dot-is-the-node-itself"),
        pytest.param({"a": {"x": 1}}, {"f:a": {".": {}}}, {"a": {}}, id="only-the-node-itself"),
        pytest.param({"a": 1}, {"f:gone": {}}, {}, id="named-but-absent"),
        pytest.param([{"n": "x", "v": 1}, {"n": "y"}], {'k:{"n":"x"}': {"f:n": {}}}, [{"n": "x"}], id="list-item"),
        pytest.param(
            [{"p": 80, "t": "TCP"}, {"p": 80, "t": "UDP"}],
            {'k:{"p":80,"t":"UDP"}': {"f:p": {}}},
            [{"p": 80}],
            id="list-item-by-two-keys",
        ),
        pytest.param(["a", "b"], {'v:"b"': {}}, ["b"], id="value-of-a-set"),
        pytest.param([{"x": 1}, {"x": 2}], {"i:1": {}}, [{"x": 2}], id="position"),
        pytest.param(["a", "b"], {}, ["a", "b"], id="atomic-list"),
    ],
)
def test_a_field_set_picks_its_part(value: Any, fields: dict[str, Any], expected: Any) -> None:
    assert project(value, fields) == expected


@pytest.mark.parametrize(
    "entry",
    [
        pytest.param({**OURS, "manager": "kubectl"}, id="another-manager"),
        pytest.param({**OURS, "operation": "Update"}, id="an-update-of-ours"),
        pytest.param({**OURS, "subresource": "status"}, id="our-status"),
    ],
)
def test_other_entries_are_not_our_apply(entry: dict[str, Any]) -> None:
    assert owned_fields([entry]) == {}


def test_an_object_says_what_we_applied() -> None:
    live = live_of(a_raw(THEIRS, OURS), DEPLOYMENT)
    assert live.applied == {"spec": {"replicas": 2}}
    assert live.document["spec"] == {"replicas": 2, "paused": True}
    assert "managedFields" not in live.document["metadata"]
    assert (live.uid, live.generation, live.resource_version, live.controller_uid) == ("u1", 3, "7", "owner")
    assert (live.document["apiVersion"], live.document["kind"]) == ("apps/v1", "Deployment")


def test_an_object_that_we_never_applied_says_nothing() -> None:
    assert live_of(a_raw(THEIRS), DEPLOYMENT).applied == {}


def test_packing_loses_nothing_that_is_read() -> None:
    packed = pack(a_raw(THEIRS, OURS), DEPLOYMENT)
    assert packed.unpack() == live_of(a_raw(THEIRS, OURS), DEPLOYMENT)
    assert (packed.version, packed.labels, packed.controller_uid) == (7, {"a": "1"}, "owner")
    assert b"kubectl" not in packed.body


def test_dropping_foreign_fields_leaves_the_original_alone() -> None:
    raw = a_raw(THEIRS, OURS)
    assert without_foreign_fields(raw)["metadata"]["managedFields"] == [OURS]
    assert raw["metadata"]["managedFields"] == [THEIRS, OURS]


def test_what_upstreams_operator_wrote_becomes_our_apply() -> None:
    adopted = adopted_fields([THEIRS, UPSTREAMS], "apps/v1")
    assert adopted == [THEIRS, {**UPSTREAMS, "manager": "dynamo-operator", "operation": "Apply"}]
    assert owned_fields(adopted) == {"f:spec": {"f:replicas": {}}}


@pytest.mark.parametrize(
    "managed",
    [
        pytest.param([], id="nothing-recorded"),
        pytest.param([THEIRS], id="somebody-elses"),
        pytest.param([{**UPSTREAMS, "subresource": "status"}], id="status-only"),
        pytest.param([{**UPSTREAMS, "apiVersion": "apps/v1beta1"}], id="in-another-version"),
        pytest.param([OURS, UPSTREAMS], id="applied-by-us-already"),
    ],
)
def test_nothing_else_is_adopted(managed: list[dict[str, Any]]) -> None:
    assert adopted_fields(managed, "apps/v1") is None
