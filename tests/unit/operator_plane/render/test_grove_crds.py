"""Grove's CRDs accept what is rendered, for every manifest whose rendering is known, on whichever pathway."""

from __future__ import annotations

import copy
import dataclasses
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from dynamo_operator.render import RenderError, render
from tests.unit.operator_plane.render.corpus import CONTEXT, Case, cases, graph_of
from tests.unit.operator_plane.render.factories import a_component, a_context, a_graph, rendered
from tests.unit.operator_plane.render.grove_crds import set_validator, violations

Document = dict[str, Any]

GROVE = dataclasses.replace(CONTEXT, has_grove=True, gang_scheduler="kai-scheduler")


@pytest.fixture(scope="module")
def validator() -> Draft202012Validator:
    return set_validator()


def graph_cases() -> list[Case]:
    """Every graph with a known rendering, once."""
    return list({case.manifest: case for case in cases()}.values())


CASES = [pytest.param(case, id=case.manifest) for case in graph_cases()]


@pytest.mark.parametrize("case", CASES)
def test_groves_schema_accepts_every_manifest(validator: Draft202012Validator, case: Case) -> None:
    (document,) = (each for each in render(graph_of(case), GROVE) if each["kind"] == "PodCliqueSet")
    assert violations(validator, document) == []


def a_full_set() -> Document:
    """A set with every field that rendering knows."""
    override = {"apiVersion": "grove.io/v1alpha1", "target": "PodCliqueTemplateSpec"}
    preferred = {"topologyConstraint": {"pack": {"preferred": "host"}}}
    graph = a_graph(
        a_component("Frontend", "frontend", topologyConstraint={"packDomain": "rack"}, minAvailable=1),
        a_component(
            "Decode",
            "decode",
            multinode={"nodeCount": 3, "worker": {"providerOverride": {**override, "value": preferred}}},
            main={"command": ["python3", "-m", "dynamo.sglang"]},
        ),
        topologyConstraint={"clusterTopologyName": "t", "packDomain": "zone"},
        priorityClassName="high",
        annotations_={"nvidia.com/grove-update-strategy": "OnDelete", "nvidia.com/volcano-queue": "q"},
    )
    (document,) = rendered(graph, "PodCliqueSet", has_grove=True, gang_scheduler="volcano")
    return document


def test_groves_schema_accepts_every_field(validator: Draft202012Validator) -> None:
    assert violations(validator, a_full_set()) == []


@pytest.mark.parametrize(
    ("path", "value"),
    [
        pytest.param(("spec", "template", "cliques", 0, "spec", "replicas"), "1", id="type"),
        pytest.param(("spec", "template", "cliques", 0, "spec", "replica"), 1, id="unknown-field"),
        pytest.param(("spec", "updateStrategy", "type"), "Sometimes", id="enum"),
        pytest.param(("spec", "template", "topologyConstraint", "pack", "required"), "Rack!", id="pattern"),
    ],
)
def test_the_check_finds_what_an_api_server_would_refuse_or_drop(
    validator: Draft202012Validator, path: tuple[str | int, ...], value: object
) -> None:
    document = copy.deepcopy(a_full_set())
    at: Any = document
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = value
    assert len(violations(validator, document)) == 1


def test_groves_set_is_refused_before_it_is_sent_where_it_cannot_be_rendered() -> None:
    with pytest.raises(RenderError, match="component Worker: "):
        render(a_graph(a_component(multinode={}, experimental={"failover": {}})), a_context(has_grove=True))
