"""Shapes against the schemas: what their forms and bounds say of the last character, and how counts are told."""

from __future__ import annotations

from dynamo_operator.validate import validate
from tests.unit.operator_plane.validate.manifests import a_graph, with_

WORKER = "spec.components[1]"


def test_a_line_break_at_the_end_is_part_of_a_text() -> None:
    (violation,) = validate(with_(a_graph(), f"{WORKER}.runtimeVersionOverride", "1.5.0\n"))
    assert (violation.path, violation.message) == (f"{WORKER}.runtimeVersionOverride", "wrong form")
    assert "\n" not in str(violation)


def test_one_item_too_many_is_one_item() -> None:
    service = {"gpuMemoryService": {"extraClientPods": ["p"]}}
    lines = [str(each) for each in validate(with_(a_graph(), f"{WORKER}.experimental", service))]
    assert (
        f"{WORKER}.experimental.gpuMemoryService.extraClientPods: too many (found 1 item, allowed: at most 0)" in lines
    )
