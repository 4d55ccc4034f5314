"""What a user of the official client does first."""

from __future__ import annotations

import asyncio
import json
import subprocess

import httpx
import openai
import pytest

from tests.integration.first_light.conftest import MODEL
from tests.stack import Stack

QUESTION = [{"role": "user", "content": "Tell me a story about a lighthouse."}]


@pytest.fixture
def client(stack: Stack) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{stack.url}/v1", api_key="none", max_retries=0)


def test_streamed_and_unary_answers_are_the_same_text(client: openai.OpenAI) -> None:
    unary = client.chat.completions.create(model=MODEL, messages=QUESTION, max_tokens=20)  # type: ignore[call-overload]
    stream = client.chat.completions.create(  # type: ignore[call-overload]
        model=MODEL, messages=QUESTION, max_tokens=20, stream=True
    )
    streamed = "".join(chunk.choices[0].delta.content or "" for chunk in stream)

    assert unary.choices[0].message.content == streamed
    assert unary.usage.completion_tokens == 20


def test_usage_comes_only_to_those_who_ask(client: openai.OpenAI) -> None:
    def chunks(**options: object) -> list[openai.types.chat.ChatCompletionChunk]:
        return list(
            client.chat.completions.create(  # type: ignore[call-overload]
                model=MODEL, messages=QUESTION, max_tokens=4, stream=True, **options
            )
        )

    assert [chunk for chunk in chunks() if chunk.usage is not None or not chunk.choices] == []
    last = chunks(stream_options={"include_usage": True})[-1]
    assert last.choices == []
    assert last.usage is not None
    assert last.usage.completion_tokens == 4


async def test_asynchronous_client_streams_many_at_once(stack: Stack) -> None:
    async with openai.AsyncOpenAI(base_url=f"{stack.url}/v1", api_key="none", max_retries=0) as client:

        async def one(number: int) -> int:
            stream = await client.chat.completions.create(
                model=MODEL,
                messages=[{"role": "user", "content": f"Story {number}"}],
                max_tokens=30,
                stream=True,
                stream_options={"include_usage": True},
            )
            usages = [chunk.usage async for chunk in stream if chunk.usage is not None]
            return usages[-1].completion_tokens

        counts = await asyncio.gather(*(one(number) for number in range(32)))

    assert counts == [30] * 32


def test_embeddings_have_the_asked_dimensions_in_both_encodings(client: openai.OpenAI) -> None:
    as_floats = client.embeddings.create(model=MODEL, input="x", dimensions=8, encoding_format="float")
    as_base64 = client.embeddings.create(model=MODEL, input="x", dimensions=8)

    assert len(as_floats.data[0].embedding) == 8
    assert as_base64.data[0].embedding == pytest.approx(as_floats.data[0].embedding, abs=1e-6)


def test_curl_streams(stack: Stack) -> None:
    body = json.dumps({"model": MODEL, "messages": QUESTION, "max_tokens": 3, "stream": True})

    answer = subprocess.run(
        ["curl", "-sSN", f"{stack.url}/v1/chat/completions", "-H", "content-type: application/json", "-d", body],
        capture_output=True,
        text=True,
        check=True,
    ).stdout

    assert answer.endswith("data: [DONE]\n\n")


def test_second_turn_finds_the_first_on_the_same_worker(stack: Stack) -> None:
    prompt = "You are a careful assistant. " * 40
    explain = {"x-dynamo-explain": "true"}

    def ask(messages: list[dict[str, str]]) -> httpx.Response:
        body = {"model": MODEL, "messages": messages, "max_tokens": 8}
        answer = httpx.post(f"{stack.url}/v1/chat/completions", json=body, headers=explain, timeout=30)
        assert answer.status_code == 200, answer.text
        return answer

    system = {"role": "system", "content": prompt}
    first = ask([system, {"role": "user", "content": "One?"}])
    second = ask([system, {"role": "user", "content": "Two?"}])

    assert second.headers["x-dynamo-worker-name"] == first.headers["x-dynamo-worker-name"]
    cached = second.json()["usage"]["prompt_tokens_details"]["cached_tokens"]
    assert cached >= 16 * 10
    cached_blocks, _, total_blocks = second.headers["x-dynamo-cached-blocks"].partition("/")
    assert int(cached_blocks) * 16 == cached
    assert int(total_blocks) >= int(cached_blocks)


def test_decisions_can_be_looked_at(stack: Stack) -> None:
    body = {"model": MODEL, "prompt": "x", "max_tokens": 1}
    httpx.post(f"{stack.url}/v1/completions", json=body, headers={"x-request-id": "look-at-me"}, timeout=30)

    decisions = httpx.get(f"{stack.url}/debug/decisions").json()

    found = [decision for decision in decisions["decisions"] if "look-at-me" in decision["request_id"]]
    assert len(found) == 1
    assert found[0]["reason"]
    assert found[0]["scores"]
