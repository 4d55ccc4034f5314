"""Hands an exchange to an ASGI application: every route that is not the hot path.

Requests are whole already and answers are sent whole, so of ASGI only what a plain request needs is here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from dynamo.frontend.defects import defect
from dynamo.frontend.exchange import Exchange
from dynamo.process.logs import EventLog
from dynamo.wire.errors import Internal

Message = MutableMapping[str, Any]
App = Callable[[Message, Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]], Awaitable[None]]

_OURS = frozenset({b"content-length", b"content-type", b"connection", b"date", b"transfer-encoding", b"x-request-id"})


async def serve_app(app: App, exchange: Exchange, log: EventLog) -> None:
    """Answers `exchange` with what `app` makes of it; never raises."""
    status, headers, body = 500, [], []
    is_read = False

    async def receive() -> Message:
        nonlocal is_read
        if is_read:
            # A hang-up cancels this task, so there is nothing else to tell.
            await asyncio.Event().wait()
        is_read = True
        return {"type": "http.request", "body": exchange.body, "more_body": False}

    async def send(message: Message) -> None:
        nonlocal status, headers
        if message["type"] == "http.response.start":
            status, headers = message["status"], message["headers"]
        elif message["type"] == "http.response.body":
            body.append(message.get("body", b""))

    try:
        await app(_scope(exchange), receive, send)
    except asyncio.CancelledError:
        exchange.cut()
        return
    except Exception as error:  # a defect in one route must not end the process
        log.error("route_failed", path=exchange.path, error=defect(error))
        exchange.refuse(Internal("Internal server error"))
        return
    fields = {name.lower(): value for name, value in headers}
    content_type = fields.get(b"content-type", b"application/octet-stream")
    rest = [(name.lower(), value) for name, value in headers if name.lower() not in _OURS]
    exchange.answer(status, b"".join(body), content_type, rest)


def _scope(exchange: Exchange) -> Message:
    path, _, query = exchange.target.partition(b"?")
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.0" if exchange.is_http10 else "1.1",
        # An answer to HEAD is GET's without its body, which the exchange leaves away.
        "method": "GET" if exchange.method == b"HEAD" else exchange.method.decode("latin-1"),
        "scheme": exchange.scheme,
        "path": exchange.path,
        "raw_path": path,
        "query_string": query,
        "root_path": "",
        "headers": list(exchange.headers),
        "client": exchange.peer,
        "server": None,
        "state": {},
    }
