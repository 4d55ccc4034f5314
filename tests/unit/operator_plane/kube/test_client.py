"""What the client tries again, and what it never does."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable

import httpx2
import pytest

from dynamo_operator.kube import Client, KubeError, Ref, Throttled, Unreachable
from dynamo_operator.kube import client as client_module
from dynamo_operator.kube.objects import CONFIG_MAP, SERVICE, Kind

REF = Ref(CONFIG_MAP, "shop", "m")
OBJECT = {"metadata": {"name": "m", "namespace": "shop", "uid": "u", "resourceVersion": "1"}}
Answer = Callable[[httpx2.Request], httpx2.Response]


def fine(_: httpx2.Request) -> httpx2.Response:
    return httpx2.Response(200, json=OBJECT)


def throttled(_: httpx2.Request) -> httpx2.Response:
    return httpx2.Response(429, json={"message": "slow down"}, headers={"Retry-After": "0"})


def long_throttled(_: httpx2.Request) -> httpx2.Response:
    return httpx2.Response(429, json={"message": "slow down"}, headers={"Retry-After": "60"})


def truncated(_: httpx2.Request) -> httpx2.Response:
    return httpx2.Response(200, content=json.dumps(OBJECT)[:20])


def refused(request: httpx2.Request) -> httpx2.Response:
    raise httpx2.ConnectError("refused", request=request)


def torn(request: httpx2.Request) -> httpx2.Response:
    raise httpx2.ReadError("connection reset", request=request)


def served_by(*answers: Answer, deadline_s: float = 5.0) -> tuple[Client, list[httpx2.Request]]:
    """Answers in order, the last one for ever."""
    asked: list[httpx2.Request] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        asked.append(request)
        return answers[min(len(asked), len(answers)) - 1](request)

    http = httpx2.AsyncClient(base_url="http://api", transport=httpx2.MockTransport(answer))
    return Client(http, deadline_s=deadline_s), asked


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
async def test_a_write_that_cannot_have_arrived_is_sent_again(answers: tuple[Answer, ...], asked_times: int) -> None:
    client, asked = served_by(*answers)
    await client.patch(REF, PATCH)
    assert len(asked) == asked_times


@pytest.mark.parametrize("answer", [torn, truncated], ids=["torn", "truncated"])
async def test_a_write_that_may_have_arrived_is_not_sent_again(answer: Answer) -> None:
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
async def test_trying_ends(answer: Answer, error: type[KubeError]) -> None:
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
    async def never(request: httpx2.Request) -> httpx2.Response:
        await asyncio.Event().wait()
        raise AssertionError

    http = httpx2.AsyncClient(base_url="http://api", transport=httpx2.MockTransport(never))
    with pytest.raises(Unreachable, match=r"no answer within 0\.05 s"):
        await Client(http, deadline_s=0.05).get(REF)


async def test_an_apply_takes_fields_over_and_names_a_version_that_nothing_has_when_the_object_is_new() -> None:
    client, asked = served_by(fine)
    document = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m", "namespace": "shop"}}
    await client.apply(document)
    await client.apply(document, is_new=True)
    sent = [json.loads(request.content)["metadata"].get("resourceVersion") for request in asked]
    assert sent == [None, "1"]
    assert {request.url.params["force"] for request in asked} == {"true"}
    assert {request.url.params["fieldManager"] for request in asked} == {"dynamo-operator"}


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

    async def answer(_: httpx2.Request) -> httpx2.Response:
        nonlocal waiting, most
        waiting += 1
        most = max(most, waiting)
        await may_answer.wait()
        waiting -= 1
        return httpx2.Response(200, json=OBJECT)

    client = Client(httpx2.AsyncClient(base_url="http://api", transport=httpx2.MockTransport(answer)))
    async with asyncio.TaskGroup() as tasks:
        for number in range(9):
            tasks.create_task(client.apply(an_object(kind, number), is_new=is_new))
        while waiting < at_once:  # noqa: ASYNC110  the test's deadline is pytest's
            await asyncio.sleep(0)
        may_answer.set()
    assert most == at_once
