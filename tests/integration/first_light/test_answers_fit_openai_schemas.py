"""Answers validate against OpenAI's published response schemas."""

from __future__ import annotations

import functools
import json
from typing import Any

import httpx
import jsonschema
import pytest

from tests.integration.first_light.conftest import MODEL
from tests.shared import shared
from tests.stack import Stack

CHAT = {"model": MODEL, "messages": [{"role": "user", "content": "Say something."}], "max_tokens": 5}
TOOL = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
CALLS = [
    pytest.param("/chat/completions", CHAT, id="chat"),
    pytest.param("/chat/completions", {**CHAT, "n": 2, "logprobs": True, "top_logprobs": 2}, id="chat-logprobs"),
    pytest.param("/chat/completions", {**CHAT, "tools": [TOOL], "tool_choice": "required"}, id="chat-tools"),
    pytest.param("/chat/completions", {**CHAT, "response_format": {"type": "json_object"}}, id="chat-json"),
    pytest.param("/completions", {"model": MODEL, "prompt": "Once", "max_tokens": 5}, id="completions"),
    pytest.param("/completions", {"model": MODEL, "prompt": ["a", "b"], "max_tokens": 2, "n": 2}, id="prompts"),
    pytest.param("/embeddings", {"model": MODEL, "input": ["a", "b"]}, id="embeddings"),
    pytest.param("/responses", {"model": MODEL, "input": "Hello", "max_output_tokens": 16}, id="responses"),
]


@pytest.mark.parametrize(("path", "body"), CALLS)
def test_answer_fits_its_schema(stack: Stack, path: str, body: dict[str, Any]) -> None:
    answer = httpx.post(f"{stack.url}/v1{path}", json=body, timeout=30)

    assert answer.status_code == 200, answer.text
    _validate(path, "post", "application/json", answer.json())


@pytest.mark.parametrize(
    ("path", "body"),
    [
        pytest.param("/chat/completions", {**CHAT, "stream_options": {"include_usage": True}}, id="chat"),
        pytest.param("/chat/completions", {**CHAT, "tools": [TOOL], "tool_choice": "required"}, id="chat-tools"),
        pytest.param("/responses", {"model": MODEL, "input": "Hello", "max_output_tokens": 16}, id="responses"),
    ],
)
def test_every_streamed_chunk_fits_its_schema(stack: Stack, path: str, body: dict[str, Any]) -> None:
    with httpx.stream("POST", f"{stack.url}/v1{path}", json={**body, "stream": True}, timeout=30) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        chunks = [line.removeprefix("data: ") for line in answer.iter_lines() if line.startswith("data: ")]

    if path == "/chat/completions":
        assert chunks.pop() == "[DONE]"
    assert len(chunks) > 2
    for chunk in chunks:
        _validate(path, "post", "text/event-stream", json.loads(chunk))


def test_models_fit_their_schemas(stack: Stack) -> None:
    _validate("/models", "get", "application/json", httpx.get(f"{stack.url}/v1/models").json())
    _validate("/models/{model}", "get", "application/json", httpx.get(f"{stack.url}/v1/models/{MODEL}").json())


def test_the_check_itself_can_fail(stack: Stack) -> None:
    answer = httpx.post(f"{stack.url}/v1/chat/completions", json=CHAT, timeout=30).json()

    with pytest.raises(jsonschema.ValidationError):
        _validate("/chat/completions", "post", "application/json", {**answer, "choices": 1})


def _validate(path: str, method: str, content_type: str, answer: object) -> None:
    _validator(path, method, content_type).validate(answer)


@functools.cache
def _validator(path: str, method: str, content_type: str) -> jsonschema.Draft202012Validator:
    document = json.loads(shared("data/openai_response_schemas.json").read_text())
    content = document["paths"][path][method]["responses"]["200"]["content"]
    return jsonschema.Draft202012Validator({**content[content_type]["schema"], "components": document["components"]})
