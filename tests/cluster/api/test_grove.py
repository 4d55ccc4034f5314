"""A real API server with Grove's CRDs takes what the Grove pathway renders, and keeps it as it was sent."""

from __future__ import annotations

import dataclasses
import json

import pytest

from dynamo_operator.render import render
from tests.cluster.api.kept import as_applied, lost
from tests.cluster.errors import ClusterError
from tests.cluster.local.api_only import ApiCluster
from tests.unit.operator_plane.render.corpus import CONTEXT, graph_of
from tests.unit.operator_plane.render.test_grove_crds import a_full_set, graph_cases


def test_every_object_of_every_manifest_is_taken_and_kept(grove_cluster: ApiCluster, api_namespace: str) -> None:
    """All at once, under names of their own, since one call for each takes a minute."""
    context = dataclasses.replace(CONTEXT, namespace=api_namespace, has_grove=True)
    sent = [
        as_applied(document, f"case-{case}-{position}")
        for case, manifest in enumerate(graph_cases())
        for position, document in enumerate(render(graph_of(manifest), context))
        if document["kind"] != "InferencePool"
    ]
    grove_cluster.apply(*sent, namespace=api_namespace)
    kept = {each["metadata"]["name"]: each for each in grove_cluster.get("podcliqueset", "-n", api_namespace)["items"]}
    sets = [each for each in sent if each["kind"] == "PodCliqueSet"]
    assert len(sets) == len(kept) == len(graph_cases())
    changed = [lost(each["spec"], kept[each["metadata"]["name"]]["spec"], each["metadata"]["name"]) for each in sets]
    assert [line for lines in changed for line in lines] == []


def test_every_field_is_taken_and_kept(grove_cluster: ApiCluster, api_namespace: str) -> None:
    sent = as_applied(a_full_set(), "g")
    grove_cluster.apply(sent, namespace=api_namespace)
    kept = grove_cluster.get("podcliqueset", "g", "-n", api_namespace)
    assert lost(sent["spec"], kept["spec"], "spec") == []


def test_grove_refuses_what_it_does_not_know(grove_cluster: ApiCluster, api_namespace: str) -> None:
    sent = json.loads(json.dumps(as_applied(a_full_set(), "g")).replace("OnDelete", "Sometimes"))
    with pytest.raises(ClusterError, match=r"spec\.updateStrategy\.type: Unsupported value"):
        grove_cluster.apply(sent, namespace=api_namespace)
