from __future__ import annotations

import json
from typing import Any

import pytest

from dynamo_operator.cli.apply import LAST_APPLIED, applied_over, last_applied, tidied


def an_object(spec: dict[str, Any], **annotations: str) -> dict[str, Any]:
    return {"metadata": {"name": "agg", "annotations": annotations}, "spec": spec}


@pytest.mark.parametrize(
    ("live", "last", "wanted", "after"),
    [
        pytest.param({"a": 1}, None, {"a": 2}, {"a": 2}, id="set"),
        pytest.param({"a": 1, "b": 2}, None, {"a": 1}, {"a": 1, "b": 2}, id="others-keep-theirs"),
        pytest.param({"a": 1, "b": 2}, {"a": 1, "b": 2}, {"a": 1}, {"a": 1}, id="what-was-applied-goes"),
        pytest.param({"l": [{"n": 1}, {"n": 2}]}, None, {"l": [{"n": 3}]}, {"l": [{"n": 3}]}, id="lists-as-a-whole"),
        pytest.param({"m": {"x": 1, "y": 2}}, None, {"m": {"x": 3}}, {"m": {"x": 3, "y": 2}}, id="maps-by-key"),
        pytest.param({"a": 1}, None, {"a": None}, {}, id="null-removes"),
    ],
)
def test_an_apply_merges_as_kubectl_does(live: Any, last: Any, wanted: Any, after: Any) -> None:
    assert applied_over(an_object(live), an_object(wanted), an_object(last) if last else None)["spec"] == after


def test_the_note_of_the_last_apply_is_read_and_left_out_of_comparisons() -> None:
    live = an_object({}, **{LAST_APPLIED: json.dumps({"spec": {"a": 1}}), "other": "kept"})

    assert last_applied(live) == {"spec": {"a": 1}}
    assert tidied({**live, "metadata": {**live["metadata"], "uid": "u"}})["metadata"] == {
        "name": "agg",
        "annotations": {"other": "kept"},
    }


@pytest.mark.parametrize("note", ["not json", "[1]"])
def test_a_spoilt_note_counts_as_none(note: str) -> None:
    assert last_applied(an_object({}, **{LAST_APPLIED: note})) is None


def test_annotations_of_others_stay_when_the_manifest_has_none() -> None:
    live = an_object({}, **{"nvidia.com/current-worker-hash": "f46b2439"})
    manifest = {"metadata": {"name": "agg"}, "spec": {}}

    found = applied_over(live, manifest, {"metadata": {"name": "agg", "annotations": {}}, "spec": {}})

    assert found["metadata"]["annotations"] == {"nvidia.com/current-worker-hash": "f46b2439"}
