"""Health and metrics pages, their server, and log lines."""

from __future__ import annotations

import asyncio
import json
import logging
import sys

import httpx2
import pytest
from prometheus_client import CollectorRegistry

from dynamo_operator.handlers.logs import JsonLine, TextLine
from dynamo_operator.handlers.metrics import ErrorType, Metrics, error_type
from dynamo_operator.handlers.serving import Page, serving
from dynamo_operator.handlers.store import LiveStore
from dynamo_operator.kube import Conflict, Forbidden, Gone, Invalid, Ref, Unreachable
from dynamo_operator.kube.objects import GRAPH
from tests.unit.operator_plane.handlers.objects import packed


async def fine() -> Page:
    return Page(200, b"ok\n")


async def ill() -> Page:
    return Page(503, b"no watch\n")


@pytest.mark.parametrize(
    ("method", "path", "status", "body"),
    [
        ("GET", "/fine", 200, "ok\n"),
        ("HEAD", "/fine", 200, ""),
        ("GET", "/fine?verbose=1", 200, "ok\n"),
        ("GET", "/ill", 503, "no watch\n"),
        ("GET", "/other", 404, "not found\n"),
        ("POST", "/fine", 405, "only GET\n"),
    ],
)
async def test_pages_are_served(method: str, path: str, status: int, body: str) -> None:
    async with serving({"/fine": fine, "/ill": ill}, port=0, host="127.0.0.1") as port, httpx2.AsyncClient() as client:
        answer = await client.request(method, f"http://127.0.0.1:{port}{path}")
    assert (answer.status_code, answer.text) == (status, body)


@pytest.mark.parametrize("sent", [b"\x16\x03\x01", b"GET / HTTP/1.1\r\n", b"A" * 40_000], ids=["tls", "half", "huge"])
async def test_nonsense_gets_no_answer_and_harms_nobody(sent: bytes) -> None:
    async with serving({"/fine": fine}, port=0, host="127.0.0.1") as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(sent)
        writer.write_eof()
        assert await asyncio.wait_for(reader.read(), 5) == b""
        writer.close()
        async with httpx2.AsyncClient() as client:
            assert (await client.get(f"http://127.0.0.1:{port}/fine")).status_code == 200


def test_metrics_have_their_public_names_and_labels() -> None:
    metrics = Metrics(CollectorRegistry())
    store = LiveStore()
    store.put(packed("a", status={"state": "successful"}))
    store.put(packed("b"))
    metrics.watch_store(store, [GRAPH], lambda: 3)
    graph = Ref(GRAPH, "shop", "a")
    metrics.passed(graph, 0.2, None, is_requeued=False)
    metrics.passed(graph, 0.2, None, is_requeued=True)
    metrics.passed(graph, 0.2, Conflict("x"), is_requeued=False)
    metrics.answered("validate", "denied", 0.01, denied_fields=("spec.components",))
    shown = metrics.render().decode()
    where = 'namespace="shop",resource_type="DynamoGraphDeployment"'
    for line in (
        f"dynamo_operator_reconcile_duration_seconds_count{{{where}}} 3.0",
        f'dynamo_operator_reconcile_total{{{where},result="success"}} 1.0',
        f'dynamo_operator_reconcile_total{{{where},result="requeue"}} 1.0',
        f'dynamo_operator_reconcile_total{{{where},result="error"}} 1.0',
        'dynamo_operator_reconcile_errors_total{error_type="conflict",' + where + "} 1.0",
        'dynamo_operator_webhook_requests_total{operation="validate",result="denied"} 1.0',
        'dynamo_operator_webhook_denials_total{reason="spec.components"} 1.0',
        'dynamo_operator_webhook_duration_seconds_count{operation="validate"} 1.0',
        f'dynamo_operator_resources_total{{{where},status="successful"}} 1.0',
        f'dynamo_operator_resources_total{{{where},status="unknown"}} 1.0',
        "dynamo_operator_queue_depth 3.0",
    ):
        assert line in shown.splitlines(), line


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (Conflict("x"), ErrorType.CONFLICT),
        (Gone("x"), ErrorType.NOT_FOUND),
        (Invalid("x"), ErrorType.VALIDATION),
        (Forbidden("x"), ErrorType.API),
        (Unreachable("refused"), ErrorType.API),
        (Unreachable("GET /x: no answer within 15 s"), ErrorType.TIMEOUT),
        (TimeoutError(), ErrorType.TIMEOUT),
        (ValueError("x"), ErrorType.UNKNOWN),
    ],
    ids=repr,
)
def test_errors_have_one_type(error: Exception, expected: ErrorType) -> None:
    assert error_type(error) is expected


def a_record(message: str, error: Exception | None = None) -> logging.LogRecord:
    return logging.LogRecord(
        "operator", logging.INFO, __file__, 1, message, (), None if error is None else _raised(error)
    )


def _raised(error: Exception) -> tuple[type[BaseException], BaseException, object]:
    try:
        raise error
    except Exception:
        return sys.exc_info()  # type: ignore[return-value]


def test_a_log_line_is_one_line() -> None:
    line = TextLine().format(a_record("first\nsecond", ValueError("x")))
    assert "\n" not in line
    assert "first\\nsecond at=tests.unit.operator_plane.handlers.test_pages:" in line
    assert "Traceback" not in line


def test_a_json_line_is_json() -> None:
    line = json.loads(JsonLine().format(a_record('say "hi"')))
    assert (line["level"], line["message"]) == ("info", 'say "hi"')
