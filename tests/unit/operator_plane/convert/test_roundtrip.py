"""Nothing is lost there and back, whatever the object says and whatever stale payload it carries."""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import given, settings

from dynamo_operator.convert import V1ALPHA1, V1BETA1, to_v1alpha1, to_v1beta1
from tests.unit.operator_plane.convert.manifests import ALPHA_SPECS, BETA_SPECS, graph, meaning

EXAMPLES = settings(max_examples=150, deadline=None)


@EXAMPLES
@given(ALPHA_SPECS)
def test_any_v1alpha1_graph_survives_v1beta1(spec: dict[str, Any]) -> None:
    alpha = graph(V1ALPHA1, spec)

    assert meaning(to_v1alpha1(to_v1beta1(alpha))) == meaning(alpha)


@EXAMPLES
@given(BETA_SPECS)
def test_any_v1beta1_graph_survives_v1alpha1(spec: dict[str, Any]) -> None:
    beta = graph(V1BETA1, spec)

    assert meaning(to_v1beta1(to_v1alpha1(beta))) == meaning(beta)


@EXAMPLES
@given(BETA_SPECS, ALPHA_SPECS)
def test_payload_of_another_v1alpha1_graph_changes_nothing_that_v1beta1_says(
    spec: dict[str, Any], stale: dict[str, Any]
) -> None:
    carried = to_v1beta1(graph(V1ALPHA1, stale))["metadata"].get("annotations", {})
    edited = graph(V1BETA1, spec, **carried)

    assert meaning(to_v1beta1(to_v1alpha1(edited))) == meaning(edited)


@EXAMPLES
@given(ALPHA_SPECS, BETA_SPECS)
def test_payload_of_another_v1beta1_graph_changes_nothing_that_v1alpha1_says(
    spec: dict[str, Any], stale: dict[str, Any]
) -> None:
    carried = to_v1alpha1(graph(V1BETA1, stale))["metadata"].get("annotations", {})
    edited = graph(V1ALPHA1, spec, **carried)

    assert meaning(to_v1alpha1(to_v1beta1(edited))) == meaning(edited)


@EXAMPLES
@given(ALPHA_SPECS)
def test_stored_form_is_stable_from_the_second_conversion_on(spec: dict[str, Any]) -> None:
    once = to_v1beta1(graph(V1ALPHA1, spec))
    twice = to_v1beta1(to_v1alpha1(once))

    assert meaning(twice) == meaning(once)
    assert to_v1beta1(to_v1alpha1(twice)) == twice


@EXAMPLES
@given(ALPHA_SPECS, BETA_SPECS)
def test_input_is_never_touched(alpha_spec: dict[str, Any], beta_spec: dict[str, Any]) -> None:
    alpha, beta = graph(V1ALPHA1, alpha_spec), graph(V1BETA1, beta_spec)
    before = copy.deepcopy((alpha, beta))
    converted = to_v1beta1(alpha), to_v1alpha1(beta)
    for spec in (converted[0]["spec"], converted[1]["spec"]):
        spec.clear()

    assert (alpha, beta) == before
