"""The prefill leg of a disaggregated graph: one worker computes the prompt, the decode worker fetches its KV blocks.

The synchronous path: the prefill copy of a request asks for one token, its answer carries `kv_transfer_params`, and
these go to the decode worker unread (their content is the engines' business and changes with their versions). Called
by the pipeline for requests that were routed to a decode worker.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from msgspec.structs import replace

from dynamo.frontend.calls import Call, set_field
from dynamo.frontend.flight import Flight
from dynamo.frontend.relay import Answer, Collector
from dynamo.frontend.upstream import AnswerCut, Pool, WorkerRefused, WorkerUnreachable
from dynamo.frontend.worker_answers import error_of, serves_nobody
from dynamo.frontend.worker_requests import send, worker_request
from dynamo.process.logs import EventLog
from dynamo.router import Decision, Router
from dynamo.wire.errors import Internal, Unavailable

REMOTE_DECODE = {
    "do_remote_decode": True,
    "do_remote_prefill": False,
    "remote_engine_id": None,
    "remote_block_ids": None,
    "remote_host": None,
    "remote_port": None,
}
TRANSFER_FIELD = "kv_transfer_params"


class _Prefilled(msgspec.Struct, frozen=True):
    kv_transfer_params: dict[str, Any] | None = None


class PrefillLeg:
    """Runs prefill legs. Stateless."""

    def __init__(self, pool: Pool, log: EventLog, *, inhibit_s: float, clock: Callable[[], float]) -> None:
        self._pool = pool
        self._log = log
        self._inhibit_s = inhibit_s
        self._clock = clock

    async def run(self, flight: Flight, call: Call, router: Router) -> Call:
        """The call for the decode worker. Raises RequestError when no prefill worker could do its part."""
        assert flight.ask is not None
        copy = replace(call, body=prefill_body(call.body), is_stream=False)
        ask = replace(flight.ask, pinned_worker_id=call.hints.prefill_worker_id, dp_rank=None)
        while True:
            decision = router.decide(ask)
            router.begin(ask, decision)
            try:
                answer = await self._prefill(flight, copy, decision)
                return replace(call, body=set_field(call.body, TRANSFER_FIELD, transfer_params(answer)))
            except WorkerUnreachable as error:
                self._log.warning("prefill_worker_unreachable", worker=decision.worker_name, error=str(error))
                router.inhibit(decision.worker_id, self._clock() + self._inhibit_s)
                if ask.excluded_worker_ids:
                    raise Unavailable("No prefill worker could be reached", retry_after_s=1) from error
                ask = replace(ask, excluded_worker_ids=frozenset({decision.worker_id}))
            finally:
                router.finish(ask.request_id)

    async def _prefill(self, flight: Flight, copy: Call, decision: Decision) -> Answer:
        assert flight.found is not None
        request = worker_request(flight.exchange, copy, flight.found.model, decision)
        try:
            answer = await send(self._pool, decision.address, request, Collector())
        except AnswerCut as error:
            self._log.warning("prefill_cut", worker=decision.worker_name, error=str(error))
            raise Internal("The prefill worker failed while answering") from error
        assert answer is not None, "a collector never streams"
        if serves_nobody(answer):
            raise WorkerRefused(str(error_of(answer)))
        if (refused := error_of(answer)) is not None:
            raise refused
        return answer


def prefill_body(body: bytes) -> bytes:
    """The copy of a request that makes a worker compute the prompt, keep its blocks and say how to fetch them."""
    document = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    for name in ("stream_options", "max_completion_tokens"):
        document.pop(name, None)
    changes = {"max_tokens": 1, "min_tokens": 1, "n": 1, "stream": False, TRANSFER_FIELD: REMOTE_DECODE}
    document.update({name: msgspec.Raw(msgspec.json.encode(value)) for name, value in changes.items()})
    return msgspec.json.encode(document)


def transfer_params(answer: Answer) -> dict[str, Any]:
    """Raises Internal when the prefill worker's answer has none."""
    try:
        params = msgspec.json.decode(answer.body, type=_Prefilled).kv_transfer_params
    except msgspec.MsgspecError as error:
        raise Internal("The prefill worker's answer cannot be read") from error
    if params is None:
        raise Internal(f"The prefill worker's answer carries no {TRANSFER_FIELD}")
    return params
