"""The order of one pass's writes."""

from __future__ import annotations

from dynamo_operator.kube.objects import GRAPH, ROLE, ROLE_BINDING
from dynamo_operator.plan.intents import intents
from dynamo_operator.reconcile.writing import carry_out
from tests.contract.kube import a_graph
from tests.fakes.kube import FakeKube

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
