"""The webhook's HTTP routes: read a bounded body in bounded time, call one pure function, shape the answer.

Duty: HTTP and nothing else. A bad request gets a 4xx with one line that says what was wrong; a defect gets a 500 and a
log line, never a stack trace. Judging runs in a thread: a large review must not hold up the operator's event loop.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from starlette.requests import ClientDisconnect

from dynamo_operator.webhook.admission import AdmissionContext, Verb, review_admission
from dynamo_operator.webhook.configurations import CONVERT_PATH, HEALTH_PATH, HOOKS
from dynamo_operator.webhook.conversion import review_conversion
from dynamo_operator.webhook.errors import MalformedReview
from dynamo_operator.webhook.ports import Observer

log = logging.getLogger(__name__)

ADMISSION_BYTES = 3 * 2**20  # An object and its old version: etcd takes 1.5 MiB of each.
CONVERSION_BYTES = 16 * 2**20  # A list travels in one review, and one that is refused could not be read at all.
BODY_DEADLINE_S = 5.0
ANSWER_DEADLINE_S = 8.0  # The API server gives up after 10.
REQUESTS_AT_ONCE = 64  # Bounds the memory that bodies take; more wait for their turn.


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a review came to: the answer, a word for the counters, and the fields that were refused."""

    review: dict[str, Any]
    result: str
    denied_fields: tuple[str, ...] = ()


class _Refused(Exception):
    """The HTTP request itself is wrong."""

    def __init__(self, status: int, message: str, result: str = "malformed") -> None:
        super().__init__(message)
        self.status = status
        self.result = result


Judge = Callable[[object], Verdict]


@dataclass(frozen=True, slots=True)
class _Operation:
    name: str
    limit_bytes: int
    judge: Judge


def create_app(context: Callable[[], AdmissionContext], observer: Observer) -> FastAPI:
    """`context` is asked at every request: what the cluster can do changes while the operator runs."""
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    turns = asyncio.Semaphore(REQUESTS_AT_ONCE)

    @app.get(HEALTH_PATH)
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    for hook in HOOKS:
        judge = partial(_judge_admission, context, hook.verb)
        answer = _endpoint(_Operation(str(hook.verb), ADMISSION_BYTES, judge), turns, observer)
        app.add_api_route(hook.path, answer, methods=["POST"])
    convert = _endpoint(_Operation("convert", CONVERSION_BYTES, _judge_conversion), turns, observer)
    app.add_api_route(CONVERT_PATH, convert, methods=["POST"])
    return app


def _judge_admission(context: Callable[[], AdmissionContext], verb: Verb, review: object) -> Verdict:
    answer = review_admission(review, context(), verb)
    is_allowed = answer.review["response"]["allowed"]
    return Verdict(answer.review, "allowed" if is_allowed else "denied", answer.denied_fields)


def _judge_conversion(review: object) -> Verdict:
    conversion = review_conversion(review)
    return Verdict(conversion.review, "allowed" if conversion.succeeded else "failed")


def _endpoint(
    operation: _Operation, turns: asyncio.Semaphore, observer: Observer
) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        start = time.monotonic()
        try:
            async with turns:
                content, verdict = await _answered(request, operation)
        except _Refused as refused:
            observer.answered(operation.name, refused.result, time.monotonic() - start)
            return _refusal(refused.status, str(refused))
        except Exception as error:  # A defect of ours must cost one answer, not the connection.
            log.exception("webhook request failed", extra={"operation": operation.name})
            observer.answered(operation.name, "error", time.monotonic() - start)
            kind = type(error).__name__
            return _refusal(500, f"the operator failed to {operation.name} this object ({kind}); see its log")
        duration_s = time.monotonic() - start
        observer.answered(operation.name, verdict.result, duration_s, denied_fields=verdict.denied_fields)
        _log(operation.name, verdict, duration_s)
        return Response(content, media_type="application/json")

    return endpoint


async def _answered(request: Request, operation: _Operation) -> tuple[bytes, Verdict]:
    body = await _body_of(request, operation.limit_bytes)
    try:
        async with asyncio.timeout(ANSWER_DEADLINE_S):
            return await asyncio.to_thread(_answer, operation.judge, body)
    except TimeoutError as error:
        raise _Refused(503, f"no answer within {ANSWER_DEADLINE_S:.0f} s: the operator is busy", "late") from error


def _answer(judge: Judge, body: bytes) -> tuple[bytes, Verdict]:
    try:
        review = json.loads(body)
    except ValueError as error:
        raise _Refused(400, f"the body is not JSON: {error}") from error
    except RecursionError as error:
        raise _Refused(400, "the body is nested too deeply") from error
    try:
        verdict = judge(review)
    except MalformedReview as error:
        raise _Refused(400, str(error)) from error
    except RecursionError as error:
        raise _Refused(400, "the object is nested too deeply") from error
    return json.dumps(verdict.review, ensure_ascii=False, separators=(",", ":")).encode(), verdict


async def _body_of(request: Request, limit_bytes: int) -> bytes:
    found = request.headers.get("content-type", "")
    if found.partition(";")[0].strip().lower() != "application/json":
        raise _Refused(415, f"Content-Type: found {found!r:.80}; allowed: application/json")
    too_large = _Refused(413, f"the body is too large; allowed: at most {limit_bytes} bytes")
    length = request.headers.get("content-length", "0")
    if not length.isdecimal() or int(length) > limit_bytes:
        raise too_large
    chunks: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(BODY_DEADLINE_S):
            async for chunk in request.stream():
                size += len(chunk)
                if size > limit_bytes:
                    raise too_large
                chunks.append(chunk)
    except TimeoutError as error:
        raise _Refused(408, f"the body did not arrive within {BODY_DEADLINE_S:.0f} s") from error
    except ClientDisconnect as error:
        raise _Refused(400, "the client left before the body was complete") from error
    return b"".join(chunks)


def _refusal(status: int, message: str) -> Response:
    """The rest of a body that was not read would be taken for the next request: the connection ends."""
    return JSONResponse({"message": message}, status, headers={"Connection": "close"})


def _log(operation: str, verdict: Verdict, duration_s: float) -> None:
    level = logging.DEBUG if verdict.result == "allowed" else logging.INFO
    if log.isEnabledFor(level):
        fields = {"operation": operation, "result": verdict.result, "duration_s": round(duration_s, 4)}
        log.log(level, "webhook answered", extra={**fields, "denied_fields": verdict.denied_fields})
