"""What counts as a change: meaning, not spelling; and nothing that others own."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from dynamo_operator.plan.compare import needs_apply
from tests.unit.operator_plane.plan.lives import a_live


def differs(want: Any, applied: Any, seen: Any = None) -> bool:
    """Whether an apply of `spec: want` is needed where we own `applied` of what is there."""
    live = a_live(spec=applied if seen is None else seen, applied={"spec": applied})
    return needs_apply({"apiVersion": "v1", "kind": "X", "metadata": {"name": "d"}, "spec": want}, live)


@pytest.mark.parametrize(
    ("want", "applied"),
    [
        pytest.param({"limits": {"cpu": "0.5"}}, {"limits": {"cpu": "500m"}}, id="quantities-made-canonical"),
        pytest.param({"limits": {"nvidia.com/gpu": 1}}, {"limits": {"nvidia.com/gpu": "1"}}, id="counts-made-text"),
        pytest.param({"sizeLimit": "1024Mi"}, {"sizeLimit": "1Gi"}, id="size-limits"),
        pytest.param(
            {"ports": [{"containerPort": 1}]}, {"ports": [{"containerPort": 1, "protocol": "TCP"}]}, id="defaulted-key"
        ),
        pytest.param(
            {"fieldRef": {"fieldPath": "x"}}, {"fieldRef": {"apiVersion": "v1", "fieldPath": "x"}}, id="atomic-default"
        ),
        pytest.param({"env": [{"name": "A", "value": ""}]}, {"env": [{"name": "A"}]}, id="empty-text-is-not-stored"),
        pytest.param({"hostIPC": False, "a": None, "b": {}}, {}, id="empty-values-are-not-stored"),
        pytest.param({"replicas": 0}, {"replicas": 0}, id="zero"),
    ],
)
def test_same_meaning_needs_no_apply(want: Any, applied: Any) -> None:
    assert not differs(want, applied)


@pytest.mark.parametrize(
    ("want", "applied"),
    [
        pytest.param({"replicas": 3}, {"replicas": 2}, id="another-number"),
        pytest.param({"limits": {"cpu": "1"}}, {"limits": {"cpu": "500m"}}, id="another-quantity"),
        pytest.param({"value": "1"}, {"value": "1000m"}, id="text-is-no-quantity"),
        pytest.param({}, {"paused": True}, id="a-field-given-back"),
        pytest.param({"args": ["a", "b"]}, {"args": ["b", "a"]}, id="another-order"),
        pytest.param({"args": ["a"]}, {"args": ["a", "b"]}, id="a-shorter-list"),
        pytest.param({"flag": True}, {"flag": 1}, id="a-number-is-no-flag"),
        pytest.param({"port": {"a": 1}}, {"port": "http"}, id="another-form"),
    ],
)
def test_another_meaning_needs_an_apply(want: Any, applied: Any) -> None:
    assert differs(want, applied)


def test_field_taken_by_another_manager_needs_an_apply() -> None:
    assert differs({"replicas": 2}, {}, {"replicas": 9})
    assert differs({"replicas": 0}, {}, {"replicas": 9})


def test_fields_of_others_are_left_alone() -> None:
    assert not differs({"replicas": 2}, {"replicas": 2}, {"replicas": 2, "paused": True})


def test_owners_uid_is_compared() -> None:
    owner = {"kind": "X", "name": "x", "uid": "1", "controller": True}
    live = a_live(metadata={"ownerReferences": [owner]}, applied={"metadata": {"ownerReferences": [owner]}})
    document = copy.deepcopy(dict(live.document))
    assert not needs_apply(document, live)
    document["metadata"]["ownerReferences"][0]["uid"] = "2"
    assert needs_apply(document, live)
