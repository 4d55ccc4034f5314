"""Rendered objects are upstream's, apart from the differences that docs/compatibility.md lists."""

from __future__ import annotations

import pytest

from dynamo_operator.api import parse_component_deployment
from dynamo_operator.render import render, render_component_deployment, worker_hash
from tests.shared import shared
from tests.unit.operator_plane.render.corpus import (
    CURRENT_HASH,
    Case,
    all_cases,
    cases,
    differences_of,
    graph_of,
    load,
)
from tests.unit.operator_plane.render.documented import documented_ids
from tests.unit.operator_plane.render.rules import HASH_RULE, RULES

CASES = [pytest.param(case, id=f"{case.pathway}/{case.manifest}") for case in cases()]


@pytest.mark.parametrize("case", CASES)
def test_every_difference_is_covered_by_a_documented_rule(case: Case) -> None:
    left = [str(each) for each in differences_of(case) if not any(rule.covers(each) for rule in RULES)]
    assert left == []


def test_manifests_without_a_graph_hold_only_kinds_that_render_to_nothing() -> None:
    """Requests generate a graph in a profiling job, which is not rendering; models only find Services and call pods."""
    shared("corpus/rendered")
    kinds = {each["kind"] for case in all_cases() if case not in cases() for each in load(case.oracle)}
    assert kinds == {"DynamoGraphDeploymentRequest", "DynamoModel"}


def test_every_rule_is_needed_by_a_manifest() -> None:
    shared("corpus/rendered")
    found = [each for case in cases() for each in differences_of(case)]
    idle = [f"{rule.id} {rule.kind} {rule.path}" for rule in RULES if not any(rule.covers(each) for each in found)]
    assert idle == []


def test_rules_and_their_documentation_have_the_same_ids() -> None:
    assert documented_ids("R") == sorted({HASH_RULE, *(rule.id for rule in RULES)}, key=lambda id_: int(id_[1:]))


def test_no_graph_has_upstreams_generation_hash_so_the_hash_rule_is_needed() -> None:
    shared("corpus/rendered")
    equal = []
    for case in cases():
        (theirs,) = (each for each in load(case.oracle) if each["kind"] == "DynamoGraphDeployment")
        if str(theirs["metadata"]["annotations"][CURRENT_HASH]) == worker_hash(graph_of(case)):
            equal.append(case.manifest)
    assert equal == []


@pytest.mark.parametrize("case", CASES)
def test_a_component_deployment_read_back_renders_the_same_children(case: Case) -> None:
    objects = render(graph_of(case), case.context)
    children = {
        (each["kind"], each["metadata"]["name"]): each
        for each in objects
        if _owner(each) == "DynamoComponentDeployment"
    }
    again = [
        child
        for each in objects
        if each["kind"] == "DynamoComponentDeployment"
        for child in render_component_deployment(parse_component_deployment(each), case.context)
    ]
    assert {(each["kind"], each["metadata"]["name"]): each for each in again} == children


def _owner(document: dict[str, object]) -> str | None:
    metadata = document["metadata"]
    assert isinstance(metadata, dict)
    owners = metadata.get("ownerReferences")
    return str(owners[0]["kind"]) if owners else None
