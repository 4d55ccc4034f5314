"""The request that a worker gets, and sending it. The client's body goes out as it came; headers are our own."""

from __future__ import annotations

import asyncio

from dynamo.frontend.calls import Call
from dynamo.frontend.exchange import Exchange
from dynamo.frontend.fleet import ServedModel
from dynamo.frontend.relay import Answer, Collector
from dynamo.frontend.upstream import Pool, WorkerFrozen, WorkerUnreachable
from dynamo.router import Decision
from dynamo.wire.http1 import request_head

PASSED_ON = frozenset({b"traceparent", b"tracestate", b"baggage", b"x-mocker-fault"})
"""Client headers that the engine gets as well."""


def worker_request(exchange: Exchange, call: Call, model: ServedModel, decision: Decision) -> bytes:
    """Head and body. The rank is named only where a worker has several."""
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(call.body)),
        (b"x-request-id", exchange.request_id.encode("latin-1")),
    ]
    if model.is_parallel:
        headers.append((b"x-data-parallel-rank", b"%d" % decision.dp_rank))
    if not PASSED_ON.isdisjoint(exchange.fields):
        headers += [(name, value) for name, value in exchange.headers if name in PASSED_ON]
    host = decision.address.partition("://")[2].encode()
    return request_head(b"POST", call.target, host, headers) + call.body


async def send(pool: Pool, address: str, request: bytes, relay: Collector) -> Answer | None:
    """The worker's whole answer, or None when `relay` streamed it. Raises WorkerUnreachable or AnswerCut.

    A kept connection may have been closed by the worker meanwhile: then the same worker gets one try over a fresh one.
    Cancelling cuts the connection, which is how the engine learns that nobody listens any more.
    """
    connection = await pool.connection(address)
    was_used = connection.was_used
    relay.connection = connection
    connection.send(request, relay)
    try:
        try:
            return await relay.done
        except WorkerUnreachable as error:
            if not was_used or isinstance(error, WorkerFrozen):
                raise
        connection = relay.connection = await pool.connection(address, fresh=True)
        relay.renew()
        connection.send(request, relay)
        return await relay.done
    except asyncio.CancelledError:
        connection.abort()
        raise
