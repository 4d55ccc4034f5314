"""What the client tries again, and what it never does."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable

import pytest

from dynamo_operator.kube import (
    Answer,
    Client,
    Fence,
    KubeError,
    Lost,
    NotSent,
    Ref,
    Request,
    Throttled,
    Unreachable,
    unfenced,
)
from dynamo_operator.kube import client as client_module
from dynamo_operator.kube.objects import CONFIG_MAP, ROLE_BINDING, SECRET, SERVICE, Kind

REF = Ref(CONFIG_MAP, "shop", "m")
OBJECT = {"metadata": {"name": "m", "namespace": "shop", "uid": "u", "resourceVersion": "1"}}
Reply = Callable[[Request], Awaitable[Answer]]


async def fine(_: Request) -> Answer:
    return Answer(200, json.dumps(OBJECT).encode(), {})


async def throttled(_: Request) -> Answer:
    return Answer(429, b'{"message": "slow down"}', {"Retry-After": "0"})


async def long_throttled(_: Request) -> Answer:
    return Answer(429, b'{"message": "slow down"}', {"Retry-After": "60"})


async def truncated(_: Request) -> Answer:
    return Answer(200, json.dumps(OBJECT)[:20].encode(), {})


async def refused(_: Request) -> Answer:
    raise NotSent("refused")


async def torn(_: Request) -> Answer:
    raise Lost("connection reset")


class Replies:
    """A way to an API server that replies in order, the last one for ever. `heeded` counts the calls of the fence."""

    def __init__(self, *replies: Reply) -> None:
        self._replies = replies
        self.asked: list[Request] = []
        self.heeded = 0

    async def send(self, request: Request, fence: Fence) -> Answer:
        self.asked.append(request)
        self.heeded += fence is not unfenced
        return await self._replies[min(len(self.asked), len(self._replies)) - 1](request)

    async def close(self) -> None:
        pass


def served_by(*replies: Reply, deadline_s: float = 5.0) -> tuple[Client, list[Request]]:
    way = Replies(*replies)
    return Client(way, deadline_s=deadline_s), way.asked


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "BACKOFF_S", 0.001)


PATCH = [{"op": "add", "path": "/data", "value": {}}]


@pytest.mark.parametrize(
    ("answers", "asked_times"),
    [
        pytest.param((throttled, fine), 2, id="turned-away-unread"),
        pytest.param((refused, refused, fine), 3, id="never-connected"),
    ],
)
async def test_a_write_that_cannot_have_arrived_is_sent_again(answers: tuple[Reply, ...], asked_times: int) -> None:
    client, asked = served_by(*answers)
    await client.patch(REF, PATCH)
    assert len(asked) == asked_times


@pytest.mark.parametrize("answer", [torn, truncated], ids=["torn", "truncated"])
async def test_a_write_that_may_have_arrived_is_not_sent_again(answer: Reply) -> None:
    client, asked = served_by(answer, fine)
    with pytest.raises(Unreachable):
        await client.patch(REF, PATCH)
    assert len(asked) == 1


async def test_a_torn_read_is_asked_again() -> None:
    client, asked = served_by(torn, fine)
    assert await client.get(REF) is not None
    assert len(asked) == 2


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        pytest.param(throttled, Throttled, id="throttled"),
        pytest.param(refused, Unreachable, id="refused"),
        pytest.param(torn, Unreachable, id="torn"),
    ],
)
async def test_trying_ends(answer: Reply, error: type[KubeError]) -> None:
    client, asked = served_by(answer)
    with pytest.raises(error):
        await client.get(REF)
    assert len(asked) == client_module.TRIES


async def test_a_long_wait_is_left_to_the_caller() -> None:
    client, asked = served_by(long_throttled)
    with pytest.raises(Throttled) as throttle:
        await client.get(REF)
    assert (throttle.value.retry_after_s, len(asked)) == (60, 1)


async def test_every_call_has_a_deadline() -> None:
    async def never(_: Request) -> Answer:
        await asyncio.Event().wait()
        raise AssertionError

    with pytest.raises(Unreachable, match=r"no answer within 0\.05 s"):
        await Client(Replies(never), deadline_s=0.05).get(REF)


async def test_an_apply_takes_fields_over_and_names_a_version_that_nothing_has_when_the_object_is_new() -> None:
    client, asked = served_by(fine)
    document = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m", "namespace": "shop"}}
    await client.apply(document)
    await client.apply(document, is_new=True)
    sent = [json.loads(request.body or b"")["metadata"].get("resourceVersion") for request in asked]
    assert sent == [None, "1"]
    assert {request.path for request in asked} == {
        "/api/v1/namespaces/shop/configmaps/m?fieldManager=dynamo-operator&force=true"
    }


async def test_selectors_and_odd_names_are_quoted() -> None:
    client, asked = served_by(fine)
    await client.find(SECRET, "shop", labels={"app": "a b&c"}, fields="type=kubernetes.io/dockerconfigjson")
    await client.get(Ref(ROLE_BINDING, "shop", "system:a?b"))
    await client.patch(Ref(ROLE_BINDING, "shop", "a?b"), PATCH)
    assert [request.path for request in asked] == [
        "/api/v1/namespaces/shop/secrets?limit=500&labelSelector=app%3Da+b%26c"
        "&fieldSelector=type%3Dkubernetes.io%2Fdockerconfigjson",
        "/apis/rbac.authorization.k8s.io/v1/namespaces/shop/rolebindings/system%3Aa%3Fb",
        "/apis/rbac.authorization.k8s.io/v1/namespaces/shop/rolebindings/a%3Fb?fieldManager=dynamo-operator",
    ]


async def test_writes_heed_the_fence_and_reads_do_not() -> None:
    way = Replies(fine)
    client = Client(way, fence=lambda: None)
    await client.get(REF)
    assert way.heeded == 0
    await client.patch(REF, PATCH)
    await client.delete(REF, uid="u")
    assert way.heeded == 2


def an_object(kind: Kind, number: int) -> dict[str, object]:
    return {
        "apiVersion": kind.api_version,
        "kind": kind.name,
        "metadata": {"name": f"m{number}", "namespace": "shop"},
    }


@pytest.mark.parametrize(
    ("kind", "is_new", "at_once"),
    [
        pytest.param(SERVICE, True, client_module.NEW_SERVICES, id="new-services"),
        pytest.param(SERVICE, False, 9, id="services-that-exist"),
        pytest.param(CONFIG_MAP, True, 9, id="anything-else"),
    ],
)
async def test_only_few_new_services_wait_for_their_addresses_at_once(kind: Kind, is_new: bool, at_once: int) -> None:
    waiting, most = 0, 0
    may_answer = asyncio.Event()

    async def answer(request: Request) -> Answer:
        nonlocal waiting, most
        waiting += 1
        most = max(most, waiting)
        await may_answer.wait()
        waiting -= 1
        return await fine(request)

    client = Client(Replies(answer))
    async with asyncio.TaskGroup() as tasks:
        for number in range(9):
            tasks.create_task(client.apply(an_object(kind, number), is_new=is_new))
        while waiting < at_once:  # noqa: ASYNC110  the test's deadline is pytest's
            await asyncio.sleep(0)
        may_answer.set()
    assert most == at_once
