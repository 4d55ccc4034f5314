"""Provider overrides at admission: only placement, and only of the object that an override's place stands for."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dynamo_operator.api import parse_graph
from dynamo_operator.render import RenderContext, RenderError, render
from dynamo_operator.validate import Context, validate, validate_update
from tests.unit.operator_plane.validate.cases import Row, assert_only_violation, wrong
from tests.unit.operator_plane.validate.manifests import a_component, a_graph, an_alpha_graph, with_, without

Document = dict[str, Any]

GROVE = Context(has_grove=True)
PACKED: Document = {"pack": {"required": "rack"}}
RACK: Document = {"topologyConstraint": {"pack": {"required": "rack"}}}
TYPED = {"clusterTopologyName": "t", "packDomain": "zone"}
GRAPH = "spec.providerOverride"
ONE = "spec.components[1].providerOverride"
WIDE = "spec.components[2].providerOverride"
GROUPED = "spec.components[3].providerOverride"
LEADER = "spec.components[2].multinode.leader.providerOverride"
WORKER = "spec.components[2].multinode.worker.providerOverride"
TARGETS = {
    GRAPH: "PodCliqueSet",
    ONE: "PodCliqueTemplateSpec",
    WIDE: "PodCliqueScalingGroupConfig",
    GROUPED: "PodCliqueScalingGroupConfig",
    LEADER: "PodCliqueTemplateSpec",
    WORKER: "PodCliqueTemplateSpec",
}
PLACES = [pytest.param(place, id=place) for place in TARGETS]


def an_override(value: object, **fields: Any) -> Document:
    return {"apiVersion": "grove.io/v1alpha1", "value": value, **fields}


def graph(place: str, override: Document, **spec: Any) -> Document:
    """A graph with a component of each shape, and one override."""
    manifest = a_graph(
        a_component("Frontend", "frontend"),
        a_component("one"),
        a_component("wide", multinode={"nodeCount": 2}),
        a_component("grouped", experimental={"grove": {"forceScalingGroup": True}}),
        **spec,
    )
    return with_(manifest, place, override)


def placing(place: str, constraint: object) -> Document:
    """A value that gives the place's object this topology constraint."""
    patch = {"topologyConstraint": constraint}
    return {"spec": {"template": patch}} if place == GRAPH else patch


@pytest.mark.parametrize("place", PLACES)
def test_placement_may_be_overridden_with_and_without_naming_the_target(place: str) -> None:
    value = placing(place, {"topologyName": "t", "pack": {"required": "rack", "preferred": None}, "later": {"a": 1}})
    assert validate(graph(place, an_override(value)), GROVE) == ()
    assert validate(graph(place, an_override(value, target=TARGETS[place])), GROVE) == ()


@pytest.mark.parametrize("place", PLACES)
def test_an_override_of_another_object_is_refused(place: str) -> None:
    manifest = graph(place, an_override(placing(place, PACKED), target="PodClique"))
    assert_only_violation(manifest, f"{place}.target", '"PodClique"', TARGETS[place], GROVE)


@pytest.mark.parametrize("place", PLACES)
def test_an_override_in_another_api_is_refused(place: str) -> None:
    manifest = graph(place, an_override(placing(place, PACKED)) | {"apiVersion": "grove.io/v1"})
    assert_only_violation(manifest, f"{place}.apiVersion", '"grove.io/v1"', "grove.io/v1alpha1", GROVE)


@pytest.mark.parametrize("place", PLACES)
def test_placement_given_twice_is_refused_wherever_the_other_stands(place: str) -> None:
    override = an_override(placing(place, {"pack": {"required": "rack"}}))
    manifest = graph(place, override, topologyConstraint=TYPED)
    assert_only_violation(manifest, f"{place}.value", "topologyConstraint", "one of the two", GROVE)
    for_another = with_(graph(place, override), "spec.components[0].topologyConstraint", {"packDomain": "rack"})
    assert f"{place}.value" in {violation.path for violation in validate(for_another, GROVE)}


def test_an_override_that_places_nothing_goes_with_a_constraint() -> None:
    for place in TARGETS:
        assert validate(graph(place, an_override({}), topologyConstraint=TYPED), GROVE) == ()


@pytest.mark.parametrize("place", PLACES)
def test_an_override_needs_grove(place: str) -> None:
    manifest = graph(place, an_override(placing(place, PACKED)))
    without_grove = validate(manifest, Context(has_leader_worker_sets=True))
    assert place in {violation.path for violation in without_grove}


@pytest.mark.parametrize(
    "row",
    [
        wrong(
            "operators-field-of-the-set",
            graph(GRAPH, an_override({"spec": {"replicas": 9}})),
            f"{GRAPH}.value.spec.replicas",
            "a number",
            "template.topologyConstraint",
            GROVE,
        ),
        wrong(
            "operators-field-of-the-template",
            graph(GRAPH, an_override({"spec": {"template": {"cliques": []}}})),
            f"{GRAPH}.value.spec.template.cliques",
            "a list",
            "topologyConstraint",
            GROVE,
        ),
        wrong(
            "metadata-of-the-set",
            graph(GRAPH, an_override({"metadata": {"name": "mine"}})),
            f"{GRAPH}.value.metadata",
            "an object",
            "spec.template.topologyConstraint",
            GROVE,
        ),
        wrong(
            "operators-field-of-a-clique",
            graph(WORKER, an_override({"spec": {"podSpec": {}}})),
            f"{WORKER}.value.spec",
            "an object",
            "topologyConstraint",
            GROVE,
        ),
        wrong(
            "operators-field-removed",
            graph(WIDE, an_override({"cliqueNames": None})),
            f"{WIDE}.value.cliqueNames",
            "null",
            "topologyConstraint",
            GROVE,
        ),
        wrong(
            "way-is-a-text",
            graph(GRAPH, an_override({"spec": "hidden"})),
            f"{GRAPH}.value.spec",
            "a text of 6 characters",
            "an object",
            GROVE,
        ),
        wrong(
            "constraint-is-a-text",
            graph(ONE, an_override({"topologyConstraint": "hidden"})),
            f"{ONE}.value.topologyConstraint",
            "a text of 6 characters",
            "an object",
            GROVE,
        ),
        wrong(
            "constraint-removed",
            graph(ONE, an_override({"topologyConstraint": None})),
            f"{ONE}.value.topologyConstraint",
            "null",
            "an object",
            GROVE,
        ),
        wrong(
            "pack-is-a-flag",
            graph(ONE, an_override({"topologyConstraint": {"pack": True}})),
            f"{ONE}.value.topologyConstraint.pack",
            "true or false",
            "required, preferred",
            GROVE,
        ),
        wrong(
            "pack-left-out",
            graph(ONE, an_override({"topologyConstraint": {"topologyName": "t", "pack": None}})),
            f"{ONE}.value.topologyConstraint.pack",
            "nothing",
            "required, preferred",
            GROVE,
        ),
        wrong(
            "pack-of-nothing",
            graph(ONE, an_override({"topologyConstraint": {"pack": {"required": None}}})),
            f"{ONE}.value.topologyConstraint.pack",
            "an object of 1 field",
            "required, preferred",
            GROVE,
        ),
        wrong(
            "topology-is-a-number",
            graph(ONE, an_override({"topologyConstraint": {**PACKED, "topologyName": 1}})),
            f"{ONE}.value.topologyConstraint.topologyName",
            "a number",
            "name of a topology",
            GROVE,
        ),
        wrong(
            "domain",
            graph(ONE, an_override({"topologyConstraint": {"pack": {"preferred": "Rack!"}}})),
            f"{ONE}.value.topologyConstraint.pack.preferred",
            "a text of 5 characters",
            "a-z",
            GROVE,
        ),
        wrong(
            "older-domain",
            graph(ONE, an_override({"topologyConstraint": {"packDomain": "r" * 64}})),
            f"{ONE}.value.topologyConstraint.packDomain",
            "a text of 64 characters",
            "63",
            GROVE,
        ),
        wrong("value-is-no-object", graph(ONE, an_override("rack")), f"{ONE}.value", '"rack"', "an object", GROVE),
        wrong(
            "v1alpha1",
            with_(an_alpha_graph(), "spec.services[decode].providerOverride", an_override(RACK, target="PodClique")),
            "spec.services[decode].providerOverride.target",
            '"PodClique"',
            "PodCliqueTemplateSpec",
            GROVE,
        ),
    ],
)
def test_what_is_wrong_with_a_patch_is_named_by_its_place(row: Row) -> None:
    assert_only_violation(*row)


def test_a_malformed_patch_is_not_repeated_in_the_answer() -> None:
    for constraint in (
        "hidden",
        {"pack": "hidden"},
        {"pack": {"required": "HIDDEN"}},
        {**PACKED, "topologyName": ["hidden"]},
    ):
        (violation,) = validate(graph(ONE, an_override({"topologyConstraint": constraint})), GROVE)
        assert "hidden" not in str(violation).lower()


@pytest.mark.parametrize("place", PLACES)
def test_an_override_keeps_its_object_while_it_is_there(place: str) -> None:
    good = graph(place, an_override(placing(place, PACKED)))
    named = with_(good, f"{place}.target", TARGETS[place])
    assert validate_update(good, named, GROVE) == ()
    assert validate_update(named, good, GROVE) == ()
    for field, value in (("apiVersion", "grove.io/v1"), ("target", "Mine")):
        stored = with_(good, f"{place}.{field}", value)
        repaired = {violation.path for violation in validate_update(stored, good, GROVE)}
        assert repaired == {f"{place}.{field}"}


@pytest.mark.parametrize("place", PLACES)
def test_an_override_may_come_and_go(place: str) -> None:
    good = graph(place, an_override(placing(place, PACKED)))
    bare = without(good, place)
    assert validate_update(bare, good, GROVE) == ()
    assert validate_update(good, bare, GROVE) == ()


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(0, 2) | st.sampled_from(["rack", "Rack", ""]),
    lambda inner: st.dictionaries(
        st.sampled_from(["spec", "template", "topologyConstraint", "pack", "required", "replicas"]), inner, max_size=3
    ),
    max_leaves=6,
)
_VALUES = st.dictionaries(st.sampled_from(["spec", "topologyConstraint", "replicas"]), _JSON, max_size=2)


@settings(deadline=None)  # a busy machine, and the first call, which reads the schemas, take their time
@given(
    st.sampled_from(sorted(TARGETS)),
    _VALUES | _VALUES.map(lambda value: {"spec": {"template": value}}),
    st.sampled_from([None, *sorted(set(TARGETS.values()))]),
)
def test_whatever_is_admitted_is_rendered(place: str, value: Document, target: str | None) -> None:
    """And what cannot be rendered is refused below the override that it comes from."""
    manifest = graph(place, an_override(value) | ({} if target is None else {"target": target}))
    found = validate(manifest, GROVE)
    try:
        render(parse_graph(manifest), RenderContext("n", has_grove=True))
    except RenderError:
        assert found
    assert all(violation.path.startswith(place) for violation in found)
