"""Nothing is lost there and back, whatever the object says and whatever stale payload it carries."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from dynamo_operator.convert import V1ALPHA1, V1BETA1, ConversionError, to_v1alpha1, to_v1beta1
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


WRONG = st.sampled_from([7, "x", True, None, [], {}, [3], ["x"], {"a": 1}])


@EXAMPLES
@given(st.one_of(ALPHA_SPECS, BETA_SPECS), st.data())
def test_a_value_of_the_wrong_type_anywhere_is_converted_or_refused(spec: dict[str, Any], data: st.DataObject) -> None:
    version, turn = (V1ALPHA1, to_v1beta1) if "services" in spec else (V1BETA1, to_v1alpha1)
    place = data.draw(st.sampled_from(list(_places(spec))))
    broken = _with_value(spec, place, data.draw(WRONG))

    with contextlib.suppress(ConversionError):
        turn(graph(version, broken))


def _places(value: Any) -> Iterator[tuple[Any, ...]]:
    yield ()
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, entry in inner:
        yield from ((key, *rest) for rest in _places(entry))


def _with_value(value: Any, place: tuple[Any, ...], new: Any) -> Any:
    if not place:
        return new
    changed = copy.copy(value)
    changed[place[0]] = _with_value(value[place[0]], place[1:], new)
    return changed
