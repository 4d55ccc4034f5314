"""Upstream's own test pairs: input manifest and expected objects."""

from __future__ import annotations

import fnmatch
from typing import Any

from dynamo_operator.api import parse_component_deployment, parse_graph
from dynamo_operator.render import render, render_component_deployment
from tests.shared import shared
from tests.unit.operator_plane.render.corpus import load
from tests.unit.operator_plane.render.differences import differences
from tests.unit.operator_plane.render.factories import a_context
from tests.unit.operator_plane.render.golden import resolved
from tests.unit.operator_plane.render.rules import RULES
from tests.unit.operator_plane.render.server_defaults import as_stored

CONTEXT = a_context(namespace="clusterenv-1", operator_version="1.4.0")


def _unexplained(objects: tuple[dict[str, Any], ...], pair: str) -> list[str]:
    """Differences that no rule covers, of the objects that the golden file lists."""
    variables: dict[str, Any] = {}
    golden, ours = [], []
    for expected in load(shared(f"corpus/golden/{pair}/output.yaml")):
        pattern = expected["metadata"]["name"].removeprefix("$glob:")
        (mine,) = (
            as_stored(each)
            for each in objects
            if each["kind"] == expected["kind"] and fnmatch.fnmatchcase(each["metadata"]["name"], pattern)
        )
        ours.append(mine)
        golden.append(resolved(expected, mine, variables))
    return [str(each) for each in differences(golden, ours) if not any(rule.covers(each) for rule in RULES)]


def test_a_component_deployment_renders_as_in_the_golden_pair() -> None:
    (document,) = load(shared("corpus/golden/dcd-deployment/input.yaml"))
    objects = render_component_deployment(parse_component_deployment(document), CONTEXT)
    assert _unexplained(objects, "dcd-deployment") == []


def test_a_graph_renders_as_in_the_golden_pair() -> None:
    (document,) = load(shared("corpus/golden/dgd-components/input.yaml"))
    assert _unexplained(render(parse_graph(document), CONTEXT), "dgd-components") == []
