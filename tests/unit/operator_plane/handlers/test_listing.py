"""Whole lists are taken out before kopf sees them, page by page."""

from __future__ import annotations

import json
from typing import Any

from dynamo_operator.handlers.listing import Lists
from dynamo_operator.kube import Kind, Packed
from dynamo_operator.kube.objects import DEPLOYMENT, GRAPH

PATH = "/apis/nvidia.com/v1beta1/dynamographdeployments"
Heard = list[tuple[Kind, str, list[str], int]]


def lists(namespace: str = "") -> tuple[Lists, Heard]:
    heard: Heard = []

    def hear(kind: Kind, where: str, objects: list[Packed], version: int) -> None:
        heard.append((kind, where, [packed.ref.name for packed in objects], version))

    return Lists((GRAPH, DEPLOYMENT), namespace, hear), heard


def page(*names: str, position: str = "", version: str = "7") -> bytes:
    items = [{"metadata": {"name": n, "namespace": "shop", "uid": n, "resourceVersion": "3"}} for n in names]
    return json.dumps({"metadata": {"resourceVersion": version, "continue": position}, "items": items}).encode()


def test_a_list_is_handed_over_and_shown_empty() -> None:
    taken, heard = lists()
    shown: dict[str, Any] = taken.take(GRAPH, {"limit": "500"}, page("a", "b"))
    assert heard == [(GRAPH, "", ["a", "b"], 7)]
    assert shown == {"metadata": {"resourceVersion": "7", "continue": ""}, "items": []}


def test_pages_are_joined() -> None:
    taken, heard = lists()
    shown = taken.take(GRAPH, {}, page("a", position="next"))
    assert heard == []
    assert shown["metadata"]["continue"] == "next"
    taken.take(GRAPH, {"continue": "next"}, page("b"))
    assert heard == [(GRAPH, "", ["a", "b"], 7)]


def test_a_list_begun_anew_forgets_what_was_begun() -> None:
    taken, heard = lists()
    taken.take(GRAPH, {}, page("old", position="next"))
    taken.take(GRAPH, {}, page("new"))
    assert heard == [(GRAPH, "", ["new"], 7)]


def test_an_empty_list_is_a_list() -> None:
    taken, heard = lists()
    taken.take(GRAPH, {}, b'{"metadata":{"resourceVersion":"9"},"items":null}')
    assert heard == [(GRAPH, "", [], 9)]


def test_only_lists_of_watched_kinds_are_taken() -> None:
    everywhere, _ = lists()
    assert everywhere.kind_of(PATH, {}) == GRAPH
    assert everywhere.kind_of(PATH, {"watch": "true"}) is None
    assert everywhere.kind_of("/apis/apps/v1", {}) is None
    one, _ = lists("shop")
    assert one.kind_of("/apis/apps/v1/namespaces/shop/deployments", {}) == DEPLOYMENT
    assert one.kind_of("/apis/apps/v1/deployments", {}) is None
