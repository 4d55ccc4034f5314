"""Bad requests get a 4xx with one clear line, defects a 500 without a stack trace, and the next request works."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest

from dynamo_operator.webhook import HOOKS, AdmissionContext, Verb, app
from dynamo_operator.webhook.app import create_app
from dynamo_operator.webhook.configurations import CONVERT_PATH
from tests.unit.operator_plane.validate.manifests import a_graph, with_
from tests.unit.operator_plane.webhook.factories import a_context, a_conversion, a_review

VALIDATE = next(hook.path for hook in HOOKS if hook.verb is Verb.VALIDATE)
JSON = {"Content-Type": "application/json"}


@dataclass
class Counted:
    answers: list[tuple[str, str, tuple[str, ...]]] = field(default_factory=list)

    def answered(self, operation: str, result: str, duration_s: float, *, denied_fields: tuple[str, ...] = ()) -> None:
        assert duration_s >= 0
        self.answers.append((operation, result, denied_fields))


@pytest.fixture
def counted() -> Counted:
    return Counted()


@pytest.fixture
async def client(counted: Counted) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(create_app(a_context, counted))
    async with httpx.AsyncClient(transport=transport, base_url="https://w") as client:
        yield client


def body(document: Any) -> bytes:
    return json.dumps(document).encode()


async def assert_serves(client: httpx.AsyncClient) -> None:
    answer = await client.post(VALIDATE, content=body(a_review(a_graph())), headers=JSON)
    assert answer.json()["response"]["allowed"] is True


@pytest.mark.parametrize(
    ("content", "headers", "status", "says"),
    [
        pytest.param(b"{", JSON, 400, "the body is not JSON", id="no-json"),
        pytest.param(b"\xff\xfe", JSON, 400, "the body is not JSON", id="no-text"),
        pytest.param(b"[" * 100_000, JSON, 400, "nested too deeply", id="endless-nesting"),
        pytest.param(b"{}", JSON, 400, "allowed: AdmissionReview of admission.k8s.io/v1", id="no-review"),
        pytest.param(b"{}", {"Content-Type": "text/plain"}, 415, "found 'text/plain'; allowed", id="content-type"),
        pytest.param(b"{}", {}, 415, "allowed: application/json", id="no-content-type"),
        pytest.param(b" " * (app.ADMISSION_BYTES + 1), JSON, 413, "too large; allowed: at most 3145728", id="oversize"),
        pytest.param(b"{}", JSON | {"Content-Length": "-1"}, 413, "too large", id="no-length"),
    ],
)
async def test_a_wrong_request_is_refused_with_its_reason_and_the_next_is_served(
    client: httpx.AsyncClient, counted: Counted, content: bytes, headers: dict[str, str], status: int, says: str
) -> None:
    answer = await client.post(VALIDATE, content=content, headers=headers)
    assert answer.status_code == status
    assert says in answer.json()["message"]
    assert answer.headers["connection"] == "close"
    assert counted.answers == [("validate", "malformed", ())]
    await assert_serves(client)


async def test_an_oversized_stream_without_a_length_is_cut_off(client: httpx.AsyncClient) -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while True:
            sent += 2**16
            yield b" " * 2**16

    answer = await client.post(VALIDATE, content=endless(), headers=JSON)
    assert answer.status_code == 413
    assert sent <= app.ADMISSION_BYTES + 2 * 2**16


@pytest.mark.parametrize(("method", "path", "status"), [("GET", VALIDATE, 405), ("POST", "/validate/nothing", 404)])
async def test_wrong_methods_and_paths_are_refused(
    client: httpx.AsyncClient, method: str, path: str, status: int
) -> None:
    assert (await client.request(method, path, content=b"{}", headers=JSON)).status_code == status
    await assert_serves(client)


async def test_a_body_that_does_not_come_is_not_waited_for(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app, "BODY_DEADLINE_S", 0.05)

    async def stalled() -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.Event().wait()

    answer = await client.post(VALIDATE, content=stalled(), headers=JSON)
    assert answer.status_code == 408
    await assert_serves(client)


async def test_an_answer_that_takes_too_long_is_given_up(counted: Counted, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "ANSWER_DEADLINE_S", 0.05)
    is_free = threading.Event()

    def slow() -> AdmissionContext:
        is_free.wait(10)
        return a_context()

    transport = httpx.ASGITransport(create_app(slow, counted))
    async with httpx.AsyncClient(transport=transport, base_url="https://w") as client:
        answer = await client.post(VALIDATE, content=body(a_review(a_graph())), headers=JSON)
        assert answer.status_code == 503
        assert counted.answers == [("validate", "late", ())]
        is_free.set()
        monkeypatch.setattr(app, "ANSWER_DEADLINE_S", 10)
        await assert_serves(client)


async def test_every_operation_is_counted_with_its_result(client: httpx.AsyncClient, counted: Counted) -> None:
    bad = a_review(with_(a_graph(), "spec.components[0].replicas", -1))
    await client.post(VALIDATE, content=body(bad), headers=JSON)
    mutate = next(hook.path for hook in HOOKS if hook.verb is Verb.MUTATE)
    await client.post(mutate, content=body(a_review(a_graph())), headers=JSON)
    for document in (a_graph(), {}):
        review = a_conversion("nvidia.com/v1alpha1", document)
        await client.post(CONVERT_PATH, content=body(review), headers=JSON)
    assert counted.answers == [
        ("validate", "denied", ("spec.components.replicas",)),
        ("mutate", "allowed", ()),
        ("convert", "allowed", ()),
        ("convert", "failed", ()),
    ]


async def test_a_defect_costs_one_answer_and_shows_no_stack_trace(
    counted: Counted, caplog: pytest.LogCaptureFixture
) -> None:
    contexts: list[AdmissionContext | None] = [None, a_context()]
    transport = httpx.ASGITransport(create_app(lambda: contexts.pop(0), counted))  # type: ignore[arg-type,return-value]
    async with httpx.AsyncClient(transport=transport, base_url="https://w") as client:
        with caplog.at_level(logging.ERROR):
            answer = await client.post(VALIDATE, content=body(a_review(a_graph())), headers=JSON)
        assert answer.status_code == 500
        assert answer.json() == {"message": "the operator failed to validate this object (AttributeError); see its log"}
        assert counted.answers == [("validate", "error", ())]
        assert caplog.records[0].exc_info
        await assert_serves(client)


async def test_refused_values_stay_out_of_the_log(client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture) -> None:
    secret = with_(a_graph(), "spec.env", [{"name": "TOKEN", "value": "hf_secret", "other": 1}])
    with caplog.at_level(logging.DEBUG):
        answer = await client.post(VALIDATE, content=body(a_review(secret)), headers=JSON)
    assert answer.json()["response"]["allowed"] is False
    assert "hf_secret" not in caplog.text
    assert all("hf_secret" not in str(record.__dict__) for record in caplog.records)


async def test_its_health_is_asked_without_a_review(client: httpx.AsyncClient) -> None:
    assert (await client.get("/healthz")).json() == {"status": "ok"}
