"""A graph that ran under upstream's operator runs on under ours, and ends under ours."""

from __future__ import annotations

from dataclasses import replace

import httpx2
import pytest

from dynamo_operator.kube import Client, Document, Ref
from dynamo_operator.kube.objects import COMPONENT_DEPLOYMENT, DEPLOYMENT, GRAPH, POD_CLIQUE_SET, ROLE_BINDING, SERVICE
from dynamo_operator.render import names
from tests.cluster.api.graph_stage import EVERYWHERE, Stage
from tests.cluster.api.predecessor import HASH, Predecessor
from tests.cluster.local.api_only import ApiCluster
from tests.unit.operator_plane.render.factories import a_component, a_graph_document

BINDING = "planner-serviceaccount-binding"
MODEL_SERVICE = f"dynamo-model-{names.model_hash('m')}"


def a_graph(*env: Document) -> Document:
    return a_graph_document(
        a_component("Frontend", "frontend", replicas=1, main={"env": list(env)} if env else {}),
        a_component("Decode", "decode", replicas=2, modelRef={"name": "m"}),
    )


@pytest.fixture
def stage(kube: Client, api_namespace: str) -> Stage:
    return Stage(kube, api_namespace)


@pytest.fixture
async def inherited(http: httpx2.AsyncClient, stage: Stage) -> Stage:
    """A namespace in which upstream's operator ran a graph `g`, and runs no more."""
    await Predecessor(http, stage.namespace).run(a_graph({"name": "STALE", "value": "1"}))
    return stage


async def test_an_inherited_graph_rolls_its_workers_once_and_is_successful(inherited: Stage) -> None:
    await inherited.until("g", lambda each: each.is_successful("g"))
    found = {live.ref.name for live in inherited.store.find(COMPONENT_DEPLOYMENT)}
    assert len(found) == 2
    assert f"g-decode-{HASH}" not in found
    assert [each for each in inherited.mortal.reasons if each.startswith("RollingUpdate")] == [
        "RollingUpdateStarted",
        "RollingUpdateCompleted",
    ]


async def test_an_inherited_graph_ends_when_it_is_deleted(api_cluster: ApiCluster, inherited: Stage) -> None:
    api_cluster.kubectl("delete", "dgd", "g", "-n", inherited.namespace, "--wait=false")
    await inherited.until("g", lambda each: each.graph("g") is None and each.tree() == {})


async def test_inherited_workers_keep_their_pods_until_they_are_drained(inherited: Stage) -> None:
    old = Ref(DEPLOYMENT, inherited.namespace, f"g-decode-{HASH}")
    before = await inherited.kube.get(old)
    await inherited.pass_("g")
    after = await inherited.kube.get(old)
    assert before is not None
    assert after is not None
    assert after.document["spec"]["template"] == before.document["spec"]["template"]


async def test_the_inherited_service_of_a_base_model_is_there_all_the_time(inherited: Stage) -> None:
    service = Ref(SERVICE, inherited.namespace, MODEL_SERVICE)
    before = await inherited.kube.get(service)
    await inherited.until("g", lambda each: each.is_successful("g"))
    after = await inherited.kube.get(service)
    assert before is not None
    assert after is not None
    assert after.uid == before.uid
    assert after.controller_uid is None


async def test_an_inherited_binding_gets_the_role_of_this_installation(inherited: Stage) -> None:
    await inherited.until("g", lambda each: each.is_successful("g"))
    binding = await inherited.kube.get(Ref(ROLE_BINDING, inherited.namespace, BINDING))
    assert binding is not None
    assert binding.document["roleRef"]["name"] == "dynamo-operator-planner"


async def test_what_is_taken_out_of_an_inherited_graph_leaves_its_pods(
    api_cluster: ApiCluster, inherited: Stage
) -> None:
    await inherited.until("g", lambda each: each.is_successful("g"))
    change = [{"op": "remove", "path": "/spec/components/0/podTemplate/spec/containers/0/env"}]
    await inherited.kube.patch(Ref(GRAPH, inherited.namespace, "g"), change)
    await inherited.until("g", lambda each: each.is_successful("g"))
    for kind in (COMPONENT_DEPLOYMENT, DEPLOYMENT):
        live = await inherited.kube.get(Ref(kind, inherited.namespace, "g-frontend"))
        assert live is not None
        assert "STALE" not in str(live.document["spec"]), kind.name


async def test_what_is_taken_out_of_an_inherited_set_leaves_its_pods(
    grove_cluster: ApiCluster, http: httpx2.AsyncClient, kube: Client, api_namespace: str
) -> None:
    on_grove = replace(EVERYWHERE, has_grove=True)
    await Predecessor(http, api_namespace, on_grove).run(a_graph({"name": "STALE", "value": "1"}))
    stage = Stage(kube, api_namespace, on_grove)
    await stage.pass_("g")
    change = [{"op": "remove", "path": "/spec/components/0/podTemplate/spec/containers/0/env"}]
    await kube.patch(Ref(GRAPH, api_namespace, "g"), change)
    await stage.pass_("g")
    (live,) = await kube.find(POD_CLIQUE_SET, api_namespace)
    assert "STALE" not in str(live.document["spec"])
    service = await kube.get(Ref(SERVICE, api_namespace, MODEL_SERVICE))
    assert service is not None
    assert service.controller_uid is None
