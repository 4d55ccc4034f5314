"""The contract's finalizer is taken off, and nobody else's."""

from __future__ import annotations

import pytest

from dynamo_operator.kube import Blocked, Conflict, Forbidden, Gone, Invalid, KubeError, Live, Ref
from dynamo_operator.kube.objects import GRAPH
from dynamo_operator.reconcile.finalizers import FINALIZER, release
from tests.fakes.kube import FakeKube, Fault


def a_graph_with(kube: FakeKube, *finalizers: str) -> Live:
    metadata = {"name": "g", "namespace": "ns", "finalizers": list(finalizers)}
    return kube.place({"apiVersion": "nvidia.com/v1beta1", "kind": "DynamoGraphDeployment", "metadata": metadata})


async def test_only_the_contracts_finalizer_is_taken_off() -> None:
    kube = FakeKube()
    released = await release(kube, a_graph_with(kube, "others/one", FINALIZER, "others/two"))
    assert released.document["metadata"]["finalizers"] == ["others/one", "others/two"]
    assert await kube.get(Ref(GRAPH, "ns", "g")) == released


async def test_an_object_without_it_is_not_written() -> None:
    kube = FakeKube()
    live = a_graph_with(kube, "others/one")
    assert await release(kube, live) == live
    assert kube.writes == []


@pytest.mark.parametrize("error", [Conflict("changed"), Gone("gone"), Invalid("no"), Forbidden("no"), Blocked("no")])
async def test_a_refused_release_is_left_to_another_pass(error: KubeError) -> None:
    kube = FakeKube()
    live = a_graph_with(kube, FINALIZER)
    kube.faults.append(Fault(error))
    assert await release(kube, live) == live
