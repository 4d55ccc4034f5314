"""The order of one pass's writes, and what they leave alone."""

from __future__ import annotations

from typing import Any

import pytest

from dynamo_operator.kube import Document, Live, Ref
from dynamo_operator.kube.objects import CONFIG_MAP, GRAPH, ROLE, ROLE_BINDING
from dynamo_operator.plan.intents import intents
from dynamo_operator.reconcile.writing import carry_out
from tests.contract.kube import a_graph, a_map
from tests.fakes.kube import FakeKube, FakeStore

RBAC = "rbac.authorization.k8s.io/v1"


async def test_a_role_is_there_before_its_binding() -> None:
    """An API server refuses a binding to a role that it cannot look up, whichever was rendered first."""
    kube = FakeKube()
    graph = kube.place(a_graph("shop"))
    metadata = {
        "name": "finds",
        "namespace": "shop",
        "ownerReferences": [{"apiVersion": GRAPH.api_version, "kind": GRAPH.name, "name": graph.ref.name}],
    }
    role = {"apiVersion": RBAC, "kind": "Role", "metadata": metadata, "rules": []}
    ref = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "finds"}
    binding = {"apiVersion": RBAC, "kind": "RoleBinding", "metadata": metadata, "roleRef": ref, "subjects": []}

    done = await carry_out(kube, kube.store, graph, intents([binding, role], "shop"))

    assert done.sentences == ()
    assert [ref.kind for _, ref in kube.writes] == [ROLE, ROLE_BINDING]


OWNER = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "theirs", "uid": "u", "controller": True}
MAP = Ref(CONFIG_MAP, "shop", "m")


def ours(graph: Live, **data: str) -> Document:
    document = a_map("shop", **data)
    owner = {"apiVersion": GRAPH.api_version, "kind": GRAPH.name, "name": graph.ref.name}
    document["metadata"]["ownerReferences"] = [owner]
    return document


@pytest.mark.parametrize("data", [{"a": "1"}, {"b": "2"}], ids=["equal-values", "values-beside-ours"])
@pytest.mark.parametrize(
    ("owners", "whose"),
    [([], "has no owner"), ([OWNER], "belongs to Deployment theirs")],
    ids=["of-nobody", "of-another"],
)
async def test_what_somebody_made_since_we_looked_is_not_taken_over(
    data: dict[str, str], owners: list[dict[str, Any]], whose: str
) -> None:
    kube = FakeKube()
    graph = kube.place(a_graph("shop"))
    seen = FakeStore({graph.ref: graph})
    theirs = a_map("shop", **data)
    theirs["metadata"]["ownerReferences"] = owners
    before = kube.place(theirs)

    done = await carry_out(kube, seen, graph, intents([ours(graph, a="1")], "shop"))

    assert await kube.get(MAP) == before
    assert done.conflicts == {MAP: f"ConfigMap m exists and {whose}; delete or rename it, or give yours another name"}


async def test_what_somebody_put_in_the_place_of_ours_is_not_taken_over() -> None:
    kube = FakeKube()
    graph = kube.place(a_graph("shop"))
    await carry_out(kube, kube.store, graph, intents([ours(graph, a="1")], "shop"))
    own = await kube.get(MAP)
    assert own is not None
    kube.remove(MAP)
    before = kube.place(a_map("shop", b="2"))

    done = await carry_out(kube, FakeStore({graph.ref: graph, MAP: own}), graph, intents([ours(graph, a="2")], "shop"))

    assert await kube.get(MAP) == before
    assert set(done.conflicts) == {MAP}


async def test_what_we_made_since_we_looked_is_ours() -> None:
    """A watch that lags, after another process of ours wrote."""
    kube = FakeKube()
    graph = kube.place(a_graph("shop"))
    await carry_out(kube, kube.store, graph, intents([ours(graph, a="1")], "shop"))

    done = await carry_out(kube, FakeStore({graph.ref: graph}), graph, intents([ours(graph, a="2")], "shop"))

    assert done.sentences == ()
    assert done.lives[MAP].document["data"] == {"a": "2"}
