"""Upstream's admission cases, known to us by their names only: our own manifests for them, and the same verdicts.

Each row of the tables is named as upstream's case is. A case without a row is left out by name, with its reason.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import pytest

from dynamo_operator.validate import Context, validate, validate_update, warnings
from tests.shared import shared
from tests.unit.operator_plane.validate import (
    reference_basics,
    reference_changes,
    reference_graphs,
    reference_placement,
    reference_standalone,
)
from tests.unit.operator_plane.validate.reference_left_out import LEFT_OUT
from tests.unit.operator_plane.validate.reference_rows import Document

CREATED = (reference_basics, reference_standalone, reference_graphs, reference_placement)
ADMITTED = tuple(each.ADMITTED for each in CREATED)
REFUSED = tuple(each.REFUSED for each in CREATED)
CHANGED = (reference_basics.CHANGED, reference_standalone.CHANGED, reference_changes.CHANGED)
WARNED = (reference_standalone.WARNED,)
BY_THE_OPERATOR = (reference_changes.BY_THE_OPERATOR,)


def rows(tables: Iterable[Mapping[str, Any]]) -> list[Any]:
    return [pytest.param(*row, id=name.replace(" ", "-")) for table in tables for name, row in table.items()]


def are_at(found: set[str], expected: str | set[str]) -> bool:
    if isinstance(expected, set):
        return found == expected
    return all(path.startswith(expected) for path in found) and bool(found) == bool(expected)


@pytest.mark.parametrize(("manifest", "context"), rows(ADMITTED))
def test_what_the_reference_admits_is_admitted(manifest: Document, context: Context | None) -> None:
    assert [str(violation) for violation in validate(manifest, context)] == []


@pytest.mark.parametrize(("manifest", "context", "expected"), rows(REFUSED))
def test_what_the_reference_refuses_is_refused_there(
    manifest: Document, context: Context | None, expected: str | set[str]
) -> None:
    violations = validate(manifest, context)
    assert are_at({violation.path for violation in violations}, expected), [str(each) for each in violations]


@pytest.mark.parametrize(("old", "new", "context", "expected"), rows(CHANGED))
def test_changes_have_the_references_verdict(
    old: Document, new: Document, context: Context | None, expected: str | set[str]
) -> None:
    violations = validate_update(old, new, context)
    assert are_at({violation.path for violation in violations}, expected), [str(each) for each in violations]


@pytest.mark.parametrize(("old", "new", "context", "expected"), rows(BY_THE_OPERATOR))
def test_the_operators_changes_have_the_references_verdict(
    old: Document, new: Document, context: Context | None, expected: str
) -> None:
    assert are_at({violation.path for violation in validate_update(old, new, context, may_scale=True)}, expected)


@pytest.mark.parametrize(("manifest", "line"), rows(WARNED))
def test_what_the_reference_warns_of_is_warned_of(manifest: Document, line: str) -> None:
    assert validate(manifest) == ()
    assert any(line in warning for warning in warnings(manifest))


def test_every_case_of_the_reference_has_one_row_or_one_reason() -> None:
    tables: list[Iterable[str]] = [*ADMITTED, *REFUSED, *CHANGED, *WARNED, *BY_THE_OPERATOR, *LEFT_OUT.values()]
    named = [name for table in tables for name in table]
    listed = set(re.findall(r'"([^"]+)"', shared("reference/admission-cases.txt").read_text()))
    assert sorted(name for name in named if named.count(name) > 1) == []
    assert listed - set(named) == set(), "in neither table"
    assert set(named) - listed == set(), "not a case of the reference"
