"""Conversion against upstream's own: its converted objects, its stored payloads, and every manifest it accepts.

DIFFERENCES lists every way in which our result is not upstream's, and docs/compatibility.md the reasons; anything else
fails.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from dynamo_operator.convert import V1ALPHA1, V1BETA1, convert, to_v1alpha1, to_v1beta1
from dynamo_operator.convert.documents import canonical
from tests.shared import shared
from tests.unit.operator_plane.convert import test_edits, test_rules
from tests.unit.operator_plane.convert.manifests import (
    CONVERTIBLE,
    CORPUS,
    PAYLOADS,
    documents,
    meaning,
    payload,
    without_empty,
)
from tests.unit.operator_plane.render.documented import documented_rows

READ_BACK = sorted(CORPUS.glob("converted/**/*.both.yaml"))
STORED = sorted(CORPUS.glob("rendered/**/*.objects.yaml"))
INPUTS = sorted(
    path for folder in ("examples", "deploy", "extra", "golden") for path in CORPUS.glob(f"{folder}/**/*.yaml")
)


def paths(found: list[Path]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("path", found or [CORPUS], ids=lambda path: str(path.relative_to(CORPUS.parent)))


def without_notes_between_reads(obj: dict[str, Any]) -> dict[str, Any]:
    annotations = {key: value for key, value in obj["metadata"]["annotations"].items() if key != BETWEEN_READS}
    return {**obj, "metadata": {**obj["metadata"], "annotations": annotations}}


def with_decoded_payloads(obj: dict[str, Any]) -> dict[str, Any]:
    annotations = dict(obj["metadata"]["annotations"])
    annotations.update({key: json.loads(annotations[key]) for key in PAYLOADS if key in annotations})
    return {**obj, "metadata": {**obj["metadata"], "annotations": annotations}}


def without_empty_payload_parts(obj: dict[str, Any]) -> dict[str, Any]:
    annotations = dict(obj["metadata"]["annotations"])
    annotations.update({key: without_empty(annotations[key]) for key in PAYLOADS if key in annotations})
    return {**obj, "metadata": {**obj["metadata"], "annotations": annotations}}


BETWEEN_READS = "nvidia.com/current-worker-hash-v2"
DIFFERENCES: dict[str, Callable[[dict[str, Any]], Any]] = {
    "between-reads": without_notes_between_reads,
    "payload-spelling": with_decoded_payloads,
    "payload-empty-parts": without_empty_payload_parts,
    "zero-values": canonical,
}
"""All that may differ between our conversion and upstream's: {rule: what it hides}, applied in this order."""


def hidden(obj: dict[str, Any], *, but: str = "") -> object:
    """`obj` after every rule of DIFFERENCES except one."""
    for rule, hide in DIFFERENCES.items():
        obj = obj if rule == but else hide(obj)
    return obj


def conversions(path: Path) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """(ours, upstream's) for both directions of one object that upstream's server gave in both versions."""
    both = yaml.safe_load(path.read_text())
    yield to_v1alpha1(both["v1beta1"]), both["v1alpha1"]
    yield to_v1beta1(both["v1alpha1"]), both["v1beta1"]


@paths(READ_BACK)
def test_both_versions_read_as_upstream_reads_them(path: Path) -> None:
    shared("corpus/converted")
    for ours, theirs in conversions(path):
        assert hidden(ours) == hidden(theirs)


@paths(READ_BACK)
def test_both_versions_survive_the_other_one(path: Path) -> None:
    shared("corpus/converted")
    both = yaml.safe_load(path.read_text())

    assert meaning(to_v1alpha1(to_v1beta1(both["v1alpha1"]))) == meaning(both["v1alpha1"])
    assert meaning(to_v1beta1(to_v1alpha1(both["v1beta1"]))) == meaning(both["v1beta1"])


@pytest.mark.parametrize("rule", DIFFERENCES)
def test_each_listed_difference_is_still_one(rule: str) -> None:
    shared("corpus/converted")
    pairs = [pair for path in READ_BACK for pair in conversions(path)]

    assert any(hidden(ours, but=rule) != hidden(theirs, but=rule) for ours, theirs in pairs)


def test_the_listed_differences_are_the_documented_ones() -> None:
    assert sorted(row[-1] for row in documented_rows("C").values()) == sorted(DIFFERENCES)


def test_each_difference_by_design_is_held_by_a_test() -> None:
    held_by = {row[-1] for row in documented_rows("K").values()}
    assert held_by <= {*dir(test_edits), *dir(test_rules)}


@paths(STORED)
def test_objects_that_upstream_stored_come_back_as_stored(path: Path) -> None:
    shared("corpus/rendered")
    for stored in documents(path):
        other = V1ALPHA1 if stored["apiVersion"] == V1BETA1 else V1BETA1
        back = convert(convert(stored, other), stored["apiVersion"])

        assert meaning(back) == meaning(stored)
        assert _unsayable(back) == _unsayable(stored)


@paths(INPUTS)
def test_manifests_survive_the_other_version(path: Path) -> None:
    shared("corpus/examples")
    for manifest in documents(path):
        other = V1ALPHA1 if manifest["apiVersion"] == V1BETA1 else V1BETA1

        assert meaning(convert(convert(manifest, other), manifest["apiVersion"])) == meaning(manifest)


def test_accepted_verdict_manifests_survive_the_other_version() -> None:
    cases = list(_accepted(yaml.safe_load(shared("corpus/admission/verdicts.yaml").read_text())))

    for name, manifest in cases:
        other = V1ALPHA1 if manifest["apiVersion"] == V1BETA1 else V1BETA1
        assert meaning(convert(convert(manifest, other), manifest["apiVersion"])) == meaning(manifest), name
    assert len(cases) > 20


def _accepted(cases: list[dict[str, Any]]) -> Iterator[tuple[str, dict[str, Any]]]:
    for case in cases:
        if case["verdict"] == "accepted" and case["manifest"]["kind"] in CONVERTIBLE:
            yield case["case"], case["manifest"]


def _unsayable(obj: dict[str, Any]) -> dict[tuple[str, str, str], Any]:
    """What the payloads keep of fields that v1beta1 has no word for. Where the main container's fields were written is
    not compared: upstream's operator edited them after it had stored the payload, so theirs is stale."""
    kept = {key: value["spec"] for key, value in payload(obj).items() if value.get("spec")}
    unsayable = ("annotations", "labels", "dynamoNamespace", "ingress", "autoscaling")
    services = {key: spec.get("services", {"": spec}) for key, spec in kept.items()}
    return {
        (key, name, field): value
        for key, entries in services.items()
        for name, entry in entries.items()
        for field, value in entry.items()
        if field in unsayable
    }
