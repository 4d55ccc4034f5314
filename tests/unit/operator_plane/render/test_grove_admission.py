"""What admission says of names on the Grove pathway is what rendering finds."""

from __future__ import annotations

from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from dynamo_operator.api import parse_graph
from dynamo_operator.render import RenderError, render
from dynamo_operator.validate import Context, validate
from tests.unit.operator_plane.render.factories import a_component, a_context, a_graph_document

KINDS: tuple[dict[str, Any], ...] = (
    {},
    {"multinode": {"nodeCount": 2}},
    {"experimental": {"grove": {"forceScalingGroup": True}}},
)


@settings(deadline=None)  # a busy machine, and the first call, which reads the schemas, take their time
@example(9, [(37, KINDS[0])])
@example(9, [(16, KINDS[1]), (37, KINDS[0])])
@example(9, [(18, KINDS[2])])
@given(st.integers(1, 48), st.lists(st.tuples(st.integers(2, 46), st.sampled_from(KINDS)), min_size=1, max_size=3))
def test_admission_refuses_the_names_that_grove_could_not_take(
    graph: int, components: list[tuple[int, dict[str, Any]]]
) -> None:
    entries = [a_component(f"{chr(97 + at)}" * length, **kind) for at, (length, kind) in enumerate(components)]
    document = a_graph_document(*entries, name="g" * graph)
    found = validate(document, Context(has_grove=True, namespace="n"))
    try:
        render(parse_graph(document), a_context(namespace="n", has_grove=True))
        refused = ""
    except RenderError as error:
        refused = str(error)
    assert bool([each for each in found if each.path.endswith("name")]) == bool(refused)
