"""Every wrong request gets a clear error in OpenAI's form, and the next good one works."""

from __future__ import annotations

import json
import socket
from typing import Any

import httpx
import pytest

from tests.integration.first_light.conftest import MODEL
from tests.stack import Stack

CHAT = {"model": MODEL, "messages": [{"role": "user", "content": "Hi."}], "max_tokens": 2}
JSON = {"content-type": "application/json"}


def a_body(**changes: Any) -> bytes:
    return json.dumps({**CHAT, **changes}).encode()


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        pytest.param(b"{", 400, ["JSON"], id="broken-json"),
        pytest.param(b"", 400, ["JSON"], id="empty-body"),
        pytest.param(b"[]", 400, ["object"], id="no-object"),
        pytest.param(b'{"model": "tiny", "messages": "\xff\xfe"}', 400, ["UTF-8"], id="broken-utf8"),
        pytest.param(a_body(model="nope"), 404, ["nope"], id="unknown-model"),
        pytest.param(a_body(model=7), 400, ["model"], id="model-is-no-string"),
        pytest.param(a_body(messages=[]), 400, ["messages"], id="no-messages"),
        pytest.param(a_body(messages="hi"), 400, ["messages"], id="messages-are-no-list"),
        pytest.param(a_body(temperature=3), 400, ["temperature", "3", "2"], id="temperature-too-high"),
        pytest.param(a_body(top_p=-0.1), 400, ["top_p", "-0.1"], id="top-p-negative"),
        pytest.param(a_body(n=129), 400, ["n", "129", "128"], id="too-many-choices"),
        pytest.param(a_body(max_tokens=-1), 400, ["max_tokens", "-1"], id="negative-max-tokens"),
        pytest.param(a_body(max_tokens="many"), 400, ["max_tokens"], id="max-tokens-is-no-number"),
        pytest.param(a_body(top_logprobs=21, logprobs=True), 400, ["top_logprobs", "20"], id="top-logprobs"),
        pytest.param(a_body(temprature=1), 400, ["temprature", "temperature"], id="unknown-field-with-nearest"),
        pytest.param(a_body(tool_choice="required"), 400, ["tool_choice", "tools"], id="tool-choice-without-tools"),
        pytest.param(a_body(messages=[{"role": "user", "content": "word " * 9000}]), 400, ["4096"], id="context"),
        pytest.param(b'{"model":"tiny","pad":"' + b"x" * 2_000_000 + b'"}', 413, ["1"], id="oversized-body"),
    ],
)
def test_wrong_body_is_refused_with_its_field(stack: Stack, body: bytes, status: int, words: list[str]) -> None:
    answer = httpx.post(f"{stack.url}/v1/chat/completions", content=body, headers=JSON, timeout=30)

    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert [word for word in words if word not in error["message"]] == [], error["message"]
    assert _good_request_works(stack)


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        pytest.param("GET", "/nowhere", {}, 404, id="unknown-route"),
        pytest.param("GET", "/v1/chat/completions", {}, 405, id="wrong-method"),
        pytest.param("POST", "/v1/models", {}, 405, id="wrong-method-on-models"),
        pytest.param("GET", "/v1/models/nope", {}, 404, id="unknown-model"),
        pytest.param("POST", "/v1/chat/completions", {"content-type": "text/plain"}, 415, id="no-json-type"),
    ],
)
def test_wrong_route_is_refused(stack: Stack, method: str, path: str, headers: dict[str, str], status: int) -> None:
    content = a_body() if method == "POST" else None

    answer = httpx.request(method, f"{stack.url}{path}", content=content, headers=headers, timeout=30)

    assert answer.status_code == status, answer.text
    assert answer.json()["error"]["message"]
    assert _good_request_works(stack)


@pytest.mark.parametrize(
    "junk",
    [
        pytest.param(b"\x16\x03\x01\x02\x00", id="tls-hello"),
        pytest.param(b"BREW /pot HTTP/9.9\r\n\r\n", id="bad-version"),
        pytest.param(b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n", id="negative-length"),
        pytest.param(b"GET /" + b"a" * 200_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", id="endless-path"),
    ],
)
def test_junk_on_the_socket_is_answered_or_cut_and_hurts_nobody(stack: Stack, junk: bytes) -> None:
    url = httpx.URL(stack.url)
    with socket.create_connection((url.host, url.port or 80), timeout=5) as connection:
        try:
            connection.sendall(junk)
            received = connection.recv(4096)
        except OSError:
            received = b""

    assert received == b"" or received.split()[1][:1] == b"4"
    assert _good_request_works(stack)


def test_headers_after_an_error_leave_the_connection_usable(stack: Stack) -> None:
    with httpx.Client(base_url=stack.url, timeout=30) as client:
        refused = client.post("/v1/chat/completions", content=b"{", headers=JSON)
        accepted = client.post("/v1/chat/completions", content=a_body(), headers=JSON)

    assert (refused.status_code, accepted.status_code) == (400, 200)


def _good_request_works(stack: Stack) -> bool:
    return httpx.post(f"{stack.url}/v1/chat/completions", content=a_body(), headers=JSON, timeout=30).status_code == 200
