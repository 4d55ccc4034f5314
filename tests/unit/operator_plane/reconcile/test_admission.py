"""What frontends say of their workers, over real HTTP."""

from __future__ import annotations

import json
from typing import Any

import httpx2
import pytest

from dynamo_operator.reconcile.admission import FrontendAdmission, named_pods
from dynamo_operator.render import names
from tests.unit.operator_plane.reconcile.operators import NAMESPACE, graph_ref
from tests.unit.operator_plane.reconcile.world import World


def a_world(*frontends: str, ready: bool = True) -> World:
    world = World()
    for address in frontends:
        labels = {names.GRAPH_NAME: "g", names.COMPONENT_TYPE: "frontend"}
        status = {"podIP": address, "conditions": [{"type": "Ready", "status": "True" if ready else "False"}]}
        metadata = {"name": f"f-{address}".replace(".", "-"), "labels": labels}
        world.put({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "status": status}, namespace=NAMESPACE)
    return world


async def admitted(world: World, answers: dict[str, Any]) -> frozenset[str] | None:
    def answer(request: httpx2.Request) -> httpx2.Response:
        assert (request.url.port, request.url.path) == (8000, "/health")
        found = answers.get(request.url.host)
        if found is None:
            raise httpx2.ConnectError("no route")
        return httpx2.Response(503, text=found if isinstance(found, str) else json.dumps(found))

    async with httpx2.AsyncClient(transport=httpx2.MockTransport(answer)) as http:
        return await FrontendAdmission(world, http).admitted(graph_ref())


def instances(*pods: str) -> dict[str, Any]:
    return {"instances": [{"namespace": "ns-g-a", "component": "worker", "name": pod} for pod in pods]}


async def test_worker_is_admitted_once_every_frontend_knows_it() -> None:
    answers = {"10.0.0.1": instances("a", "b"), "10.0.0.2": instances("b", "c")}
    assert await admitted(a_world(*answers), answers) == {"b"}


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(None, id="not-reachable"),
        pytest.param("<html>", id="not-json"),
        pytest.param({"status": "ok"}, id="no-instances"),
        pytest.param({"instances": [{"component": "worker"}]}, id="instances-without-names"),
        pytest.param({"instances": ["worker"]}, id="another-form"),
    ],
)
async def test_one_frontend_that_cannot_say_leaves_it_unknown(answer: Any) -> None:
    answers = {"10.0.0.1": instances("a"), "10.0.0.2": answer}
    assert await admitted(a_world(*answers), answers) is None


async def test_without_ready_frontends_it_is_unknown() -> None:
    assert await admitted(a_world("10.0.0.1", ready=False), {"10.0.0.1": instances("a")}) is None


def test_frontend_without_workers_admits_none() -> None:
    assert named_pods({"instances": []}) == frozenset()
