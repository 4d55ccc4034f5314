"""What an API server with upstream's operator refuses is refused here; what can never start is refused as well."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from dynamo_operator.validate import validate, warnings
from tests.shared import SHARED, shared
from tests.unit.operator_plane.render.documented import documented_rows
from tests.unit.operator_plane.validate import (
    test_component_rules,
    test_core_rules,
    test_corpus,
    test_features,
    test_graph_rules,
    test_overrides,
    test_updates,
)
from tests.unit.operator_plane.webhook import test_admission

VERDICTS = SHARED / "corpus/admission/verdicts.yaml"

# Upstream admits these; their pods or Services are then refused by the API server, or never start.
UNSTARTABLE = {row[-1] for row in documented_rows("V").values()}


def cases() -> list[Any]:
    if not VERDICTS.exists():
        return []
    return [pytest.param(case, id=case["case"]) for case in yaml.safe_load(VERDICTS.read_text())]


@pytest.mark.parametrize("case", cases())
def test_verdict_is_upstreams_except_for_what_cannot_start(case: dict[str, Any]) -> None:
    violations = validate(case["manifest"])
    expects_refusal = case["verdict"] == "refused" or case["case"] in UNSTARTABLE
    assert bool(violations) == expects_refusal, [str(violation) for violation in violations]


@pytest.mark.parametrize("case", cases())
def test_every_refusal_says_where_what_was_found_and_what_is_allowed(case: dict[str, Any]) -> None:
    for violation in validate(case["manifest"]):
        assert violation.path
        assert violation.found
        assert violation.allowed or violation.nearest
        assert "\n" not in str(violation)


def test_every_documented_difference_is_one() -> None:
    cases = {case["case"]: case for case in yaml.safe_load(shared("corpus/admission/verdicts.yaml").read_text())}
    assert {name for name in UNSTARTABLE if cases[name]["verdict"] == "accepted"} == UNSTARTABLE


def test_each_difference_without_a_verdict_is_held_by_a_test() -> None:
    tests = {
        name
        for module in (
            test_admission,
            test_component_rules,
            test_core_rules,
            test_corpus,
            test_features,
            test_graph_rules,
            test_overrides,
            test_updates,
        )
        for name in dir(module)
    }
    assert {row[-1] for row in documented_rows("W").values()} <= tests


def test_all_verdicts_are_tried() -> None:
    assert len(yaml.safe_load(shared("corpus/admission/verdicts.yaml").read_text())) == 81


@pytest.mark.parametrize("case", cases())
def test_accepted_manifests_warn_about_every_field_that_upstream_warns_about(case: dict[str, Any]) -> None:
    if case["verdict"] == "refused":
        pytest.skip("refused manifests need no warnings")
    lines = [line.removeprefix("Warning: ") for line in case["message"].splitlines() if line.startswith("Warning: ")]
    subjects = [line.partition(" is deprecated")[0] for line in lines]
    given = warnings(case["manifest"])
    assert all(any(line.startswith(subject) for line in given) for subject in subjects), given
