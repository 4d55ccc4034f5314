"""Table rows for rules: a manifest with one thing wrong, and what its one violation says."""

from __future__ import annotations

from typing import Any, TypeAlias

import pytest

from dynamo_operator.validate import Context, validate
from tests.unit.operator_plane.validate.manifests import a_graph, an_alpha_graph, with_

Row: TypeAlias = tuple[dict[str, Any], str, str, str, Context | None]


def beta(path: str, value: object) -> dict[str, Any]:
    return with_(a_graph(), path, value)


def alpha(path: str, value: object) -> dict[str, Any]:
    return with_(an_alpha_graph(), path, value)


def wrong(
    id: str, manifest: dict[str, Any], path: str, found: str, allowed: str, context: Context | None = None
) -> Any:
    row: Row = (manifest, path, found, allowed, context)
    return pytest.param(row, id=id)


def assert_only_violation(
    manifest: dict[str, Any], path: str, found: str, allowed: str, context: Context | None
) -> None:
    """`found` and `allowed` are parts of what the violation says; a nearest name counts as allowed."""
    violations = validate(manifest, context)
    assert [violation.path for violation in violations] == [path], [str(violation) for violation in violations]
    assert found in violations[0].found
    assert allowed in f"{violations[0].allowed} {violations[0].nearest}"
