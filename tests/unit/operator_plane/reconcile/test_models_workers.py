"""Workers over HTTP: whatever they answer, it is bounded in time and size and becomes one sentence."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import httpx2
import pytest

from dynamo_operator.reconcile.models_workers import MAX_ANSWER_BYTES, HttpWorkers, WorkerFailed

ADDRESS = "http://10.0.0.1:9090"


def workers(answer: Callable[[httpx2.Request], httpx2.Response], *, patience_s: float = 5) -> HttpWorkers:
    client = httpx2.AsyncClient(transport=httpx2.MockTransport(answer))
    return HttpWorkers(client, patience_s=patience_s)


class Dripping(httpx2.AsyncByteStream):
    """A byte now and then, for ever."""

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while True:
            await asyncio.sleep(0.005)
            yield b" "


@pytest.mark.parametrize(
    ("response", "said"),
    [
        pytest.param(httpx2.Response(500), "answers GET with 500", id="no-body"),
        pytest.param(
            httpx2.Response(503, json={"error": "Unavailable", "message": "the worker is starting"}),
            "answers GET with 503: the worker is starting",
            id="our-message",
        ),
        pytest.param(
            httpx2.Response(422, json={"detail": "no"}), "answers GET with 422: no", id="another-framework's-detail"
        ),
        pytest.param(httpx2.Response(400, json={"message": 5}), "answers GET with 400", id="no-message"),
        pytest.param(httpx2.Response(404), "offers no adapters: .*DYN_LORA_ENABLED=true", id="no-adapters"),
        pytest.param(
            httpx2.Response(302, headers={"Location": "http://169.254.169.254/"}),
            "answers GET with 302",
            id="redirects-are-not-followed",
        ),
        pytest.param(httpx2.Response(200, text="<html>"), "answers .* something else than a list", id="no-json"),
        pytest.param(httpx2.Response(200, json={"loras": [1]}), "answers .* something else than a list", id="no-names"),
        pytest.param(httpx2.Response(200, json={}), "answers .* something else than a list", id="no-list"),
        pytest.param(
            httpx2.Response(200, content=b" " * (MAX_ANSWER_BYTES + 1)), "answers more than 1 MiB", id="too-much"
        ),
    ],
)
async def test_a_bad_answer_is_one_sentence(response: httpx2.Response, said: str) -> None:
    asked: list[str] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        asked.append(request.url.host)
        return response

    with pytest.raises(WorkerFailed, match=f"^{said}"):
        await workers(answer).loras(ADDRESS)
    assert asked == ["10.0.0.1"]


@pytest.mark.parametrize("loras", [{"a": 1, "b": 2}, ["a", "b"]], ids=["by-name", "names-only"])
async def test_adapters_are_listed_by_name_or_as_names(loras: object) -> None:
    found = await workers(lambda _: httpx2.Response(200, json={"status": "success", "loras": loras})).loras(ADDRESS)
    assert found == {"a", "b"}


async def test_an_answer_that_drips_ends_with_our_patience() -> None:
    with pytest.raises(WorkerFailed, match=r"does not answer within 0\.05 s"):
        await workers(lambda _: httpx2.Response(200, stream=Dripping()), patience_s=0.05).loras(ADDRESS)


async def test_a_load_is_the_documented_request() -> None:
    asked: list[tuple[str, str, bytes, str]] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        asked.append((request.method, request.url.path, request.content, request.headers["content-type"]))
        return httpx2.Response(202)

    await workers(answer).load(ADDRESS, "a", "hf://x/y")
    body = b'{"lora_name":"a","source":{"uri":"hf://x/y"}}'
    assert asked == [("POST", "/v1/loras", body, "application/json")]


async def test_an_address_that_is_none_is_a_failure() -> None:
    with pytest.raises(WorkerFailed, match="cannot be reached"):
        await workers(lambda _: httpx2.Response(200)).loras("http://[::1")
