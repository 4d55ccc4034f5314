"""The SSH key pair of TensorRT-LLM groups: made once, owned by all who need it, told to nobody."""

from __future__ import annotations

import base64
import logging
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import load_ssh_private_key, load_ssh_public_key

from dynamo_operator.kube import Forbidden, Live, Ref
from dynamo_operator.kube.objects import LEADER_WORKER_SET, SECRET
from dynamo_operator.reconcile.key_pairs import KeyPair, Need, make_key_pair, need_of
from dynamo_operator.render import RenderContext
from tests.fakes.kube import Fault
from tests.unit.operator_plane.reconcile.operators import NAMESPACE, Operator, graph_ref, status_of
from tests.unit.operator_plane.reconcile.world import World
from tests.unit.operator_plane.render.factories import a_component, a_graph_document

NAME = RenderContext("").mpi_secret_name
KEYS = Ref(SECRET, NAMESPACE, NAME)
_CONTEXT = RenderContext(namespace="", has_leader_worker_sets=True)


def a_graph(name: str = "g", *, engine: str = "trtllm", nodes: int = 2) -> dict[str, Any]:
    main = {"command": ["python3", "-m", f"dynamo.{engine}"], "resources": {"limits": {"nvidia.com/gpu": "1"}}}
    worker = a_component("Worker", "worker", main=main, multinode={"nodeCount": nodes})
    return a_graph_document(worker, name=name, backendFramework=engine)


def an_operator(world: World) -> Operator:
    return Operator(world, context=_CONTEXT)


def owners(secret: Live) -> list[str]:
    return [each["name"] for each in secret.document["metadata"]["ownerReferences"]]


async def test_groups_of_nodes_get_a_key_pair_before_they_run() -> None:
    world = World()
    world.put(a_graph())

    await an_operator(world).reconcile()

    data = world.objects[KEYS].document["data"]
    private = load_ssh_private_key(base64.b64decode(data["private.key"]), password=None)
    public = load_ssh_public_key(base64.b64decode(data["private.key.pub"]))
    assert private.public_key() == public
    assert base64.b64decode(data["private.key.pub"]).startswith(b"ssh-ed25519 ")
    writes = [each for each in world.calls if each.startswith(("create", "apply "))]
    sets = [writes.index(each) for each in writes if LEADER_WORKER_SET.name in each]
    assert sets
    assert writes.index(f"create {KEYS}") < sets[0]


@pytest.mark.parametrize(
    "graph", [pytest.param(a_graph(engine="vllm"), id="vllm"), pytest.param(a_graph(nodes=1), id="one-node")]
)
async def test_others_get_none_and_ask_nothing(graph: dict[str, Any]) -> None:
    world = World()
    world.put(graph)

    await an_operator(world).reconcile()

    assert KEYS not in world.objects
    assert f"get {KEYS}" not in world.calls


async def test_a_second_graph_shares_it_and_it_goes_with_the_last() -> None:
    world = World()
    world.put(a_graph())
    operator = an_operator(world)
    await operator.reconcile()
    first = world.objects[KEYS].document["data"]
    world.put(a_graph("h"))
    for name in ("h", "g", "h"):
        await operator.reconcile(name)

    assert world.objects[KEYS].document["data"] == first
    assert owners(world.objects[KEYS]) == ["g", "h"]
    assert not any(each.get("controller") for each in world.objects[KEYS].document["metadata"]["ownerReferences"])


async def test_a_lost_race_takes_the_winners_keys() -> None:
    """Another pass makes the Secret between our look and our write."""
    world = World()
    world.put(a_graph("h"))
    await an_operator(world).reconcile("h")
    made = world.objects.pop(KEYS)
    world.put(a_graph())

    def made_by_the_other(number: int, moment: str) -> None:
        world.objects.setdefault(KEYS, made)

    world.crashing = made_by_the_other
    await an_operator(world).reconcile()

    assert world.objects[KEYS].document["data"] == made.document["data"]
    assert owners(world.objects[KEYS]) == ["h", "g"]


async def test_a_users_own_keys_are_used_and_left_alone() -> None:
    world = World()
    document = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": NAME}}
    before = world.put({**document, "data": {"private.key": "cA==", "private.key.pub": "cA=="}})
    world.put(a_graph())

    await an_operator(world).reconcile()

    assert world.objects[KEYS] == before
    assert NAME not in str(status_of(world))


async def test_a_secret_without_keys_is_named_in_the_status() -> None:
    world = World()
    before = world.put({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": NAME}, "data": {"id_rsa": "cA=="}})
    world.put(a_graph())

    await an_operator(world).reconcile()

    assert f"Secret {NAME} exists without private.key and private.key.pub" in str(status_of(world))
    assert world.objects[KEYS] == before


async def test_one_that_is_being_deleted_is_waited_for() -> None:
    world = World()
    world.put(a_graph())
    await an_operator(world).reconcile()
    world.edit(KEYS, lambda each: each["metadata"].update(deletionTimestamp="2026-01-01T00:00:00Z"))

    root = world.objects[graph_ref()]
    assert need_of(world.objects[KEYS], root) is Need.LEAVING
    await an_operator(world).reconcile()
    assert "is being deleted" in str(status_of(world))


async def test_a_component_deployment_without_a_graph_gets_one_too() -> None:
    world = World()
    spec = a_graph()["spec"]["components"][0]
    world.put(
        {
            "apiVersion": "nvidia.com/v1beta1",
            "kind": "DynamoComponentDeployment",
            "metadata": {"name": "alone"},
            "spec": {**spec, "backendFramework": "trtllm"},
        }
    )
    operator = an_operator(world)
    (root,) = [ref for ref in world.objects if ref.name == "alone"]

    await operator.components.reconcile(root)

    assert owners(world.objects[KEYS]) == ["alone"]


async def test_keys_are_never_told(caplog: pytest.LogCaptureFixture) -> None:
    world = World()
    world.put(a_graph())
    with caplog.at_level(logging.DEBUG):
        await an_operator(world).reconcile()

    data = world.objects[KEYS].document["data"]
    pair = KeyPair(*(base64.b64decode(data[key]) for key in ("private.key", "private.key.pub")))
    told = [caplog.text, repr(pair), str(status_of(world)), *(each.message for each in world.happened)]
    secrets = [data["private.key"][60:120], pair.private.decode().splitlines()[2][:40]]
    assert not [text for text in told for secret in secrets if secret in text]


async def test_every_pair_is_another() -> None:
    assert make_key_pair() != make_key_pair()


async def test_a_refused_write_is_told_without_ending_the_pass() -> None:
    world = World()
    world.put(a_graph())
    world.faults.append(Fault(Forbidden("secrets is forbidden")))

    await an_operator(world).reconcile()

    assert f"Secret {NAME}: secrets is forbidden" in str(status_of(world))
    assert any(ref.kind == LEADER_WORKER_SET for ref in world.objects)
