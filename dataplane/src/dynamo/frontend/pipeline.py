"""A request's way through the frontend, top to bottom.

accept -> parse -> admit -> tokenize (only if the router needs it) -> decide -> [prefill leg] -> stream -> account. Read
`serve` first. Everything slow or bulky is elsewhere: bytes flow in `relay`, sockets live in `upstream` and `listener`,
prompts become hashes in `asking`, choices are made by `dynamo.router`, prefill legs are run by `disagg`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from dynamo.frontend.asking import Asking
from dynamo.frontend.calls import Call, Endpoint, check_content_type, parse_call, with_headers, without_hints
from dynamo.frontend.defects import defect, for_log
from dynamo.frontend.disagg import PrefillLeg
from dynamo.frontend.exchange import Exchange
from dynamo.frontend.fleet import Fleet, ServedModel
from dynamo.frontend.flight import Flight
from dynamo.frontend.meter import Meter
from dynamo.frontend.metrics.counts import Counts
from dynamo.frontend.relay import Answer, Collector, StreamRelay
from dynamo.frontend.responses import ResponsesRelay, parse_responses_call
from dynamo.frontend.upstream import AnswerCut, Pool, WorkerRefused, WorkerUnreachable
from dynamo.frontend.worker_answers import error_of, serves_nobody
from dynamo.frontend.worker_requests import send, worker_request
from dynamo.process.logs import EventLog
from dynamo.router import Ask, Decision, Router
from dynamo.wire.cards import ModelType, Role
from dynamo.wire.errors import Cancelled, Internal, Overloaded, RequestError, Unavailable
from dynamo.wire.http1 import Headers
from dynamo.wire.openai_usage import read_usage

TRIES = 2
"""Workers asked at most: the second only when the first was lost before a byte of its answer."""


@dataclass(frozen=True, slots=True)
class Policy:
    """Settings of the request path."""

    overload_status: int = 529
    inhibit_s: float = 5.0
    """How long a worker that could not be reached is avoided."""
    hides_usage: bool = True
    """Keep usage chunks from clients that did not ask for them."""
    allows_unknown_fields: bool = False
    allows_hints: bool = True
    """Heed `nvext` and routing headers."""


class Pipeline:
    """Serves inference requests. Holds no state of its own beyond what it is given."""

    def __init__(
        self,
        fleet: Fleet,
        pool: Pool,
        asking: Asking,
        counts: Counts,
        log: EventLog,
        policy: Policy,
        *,
        clock: Callable[[], float],
    ) -> None:
        self._fleet = fleet
        self._pool = pool
        self._asking = asking
        self._counts = counts
        self._log = log
        self._policy = policy
        self._clock = clock
        self._prefill = PrefillLeg(pool, log, inhibit_s=policy.inhibit_s, clock=clock)
        self._serial = 0

    async def serve(self, exchange: Exchange, endpoint: Endpoint) -> None:
        """Answers `exchange`; never raises."""
        flight = Flight(exchange, endpoint, self._counts)
        try:
            call = self._parse(flight)
            found = self._fleet.find(call.model, call.needs)
            flight.admitted(call, found)
            flight.ask = await self._asking.ask(self._next_id(exchange), call, found)
            self._counts.stage("preprocess").observe(self._clock() - exchange.received_s)
            await self._carry(flight, call, found.model)
        except RequestError as error:
            self._refuse(flight, error)
        except asyncio.CancelledError:
            self._refuse(flight, _cancelled(exchange))
        except Exception as error:  # a defect must cost one request, not the process
            self._log.error("request_failed", request_id=exchange.request_id, error=defect(error))
            self._refuse(flight, Internal("Internal server error"))
        finally:
            flight.close(self._clock(), self._log)

    def _parse(self, flight: Flight) -> Call:
        policy, exchange, endpoint = self._policy, flight.exchange, flight.endpoint
        check_content_type(exchange.fields)
        if endpoint is Endpoint.RESPONSES:
            call, flight.form = parse_responses_call(exchange.body)
            return with_headers(call, exchange.fields) if policy.allows_hints else without_hints(call)
        is_strict = not policy.allows_unknown_fields
        call = parse_call(endpoint, exchange.body, hides_usage=policy.hides_usage, is_strict=is_strict)
        return with_headers(call, exchange.fields) if policy.allows_hints else without_hints(call)

    def _next_id(self, exchange: Exchange) -> str:
        """The router's name for the request: clients may repeat theirs."""
        self._serial += 1
        return f"{exchange.request_id}.{self._serial}"

    async def _carry(self, flight: Flight, call: Call, model: ServedModel) -> None:
        """Sends the request to a worker and its answer to the client; once more when that worker cannot be reached."""
        router, ask = model.router, flight.ask
        assert ask is not None
        lost: WorkerUnreachable | None = None
        while True:
            flight.tries += 1
            await _turn(router, ask)
            decision = flight.decision = self._decide_again(flight, model, ask, lost)
            router.begin(ask, decision)
            try:
                await self._exchange(flight, call, model, decision)
                return
            except WorkerUnreachable as error:
                router.inhibit(decision.worker_id, self._clock() + self._policy.inhibit_s)
                self._log.warning("worker_unreachable", worker=decision.worker_name, error=str(error))
                if flight.tries >= TRIES:
                    raise _given_up(error) from error
                lost = error
                ask = msgspec.structs.replace(ask, excluded_worker_ids=ask.excluded_worker_ids | {decision.worker_id})
            finally:
                router.finish(ask.request_id)

    def _decide_again(self, flight: Flight, model: ServedModel, ask: Ask, lost: WorkerUnreachable | None) -> Decision:
        """When nobody is left after one was lost, that one's loss is the reason to give."""
        try:
            return self._decide(flight, model, ask)
        except Unavailable as error:
            if lost is None:
                raise
            raise _given_up(lost) from error

    def _decide(self, flight: Flight, model: ServedModel, ask: Ask) -> Decision:
        began_s = self._clock()
        decision = model.router.decide(ask)
        flight.sent_s = self._clock()
        duration_s = flight.sent_s - began_s
        self._counts.stage("route").observe(duration_s)
        self._counts.deciding_ms.observe(duration_s * 1e3)
        block_size = model.router.block_size if decision.total_blocks else 0
        self._counts.router(model.name).decided(decision, block_size)
        return decision

    async def _exchange(self, flight: Flight, call: Call, model: ServedModel, decision: Decision) -> None:
        """One request and answer between client and the chosen worker. Raises WorkerUnreachable before any answer."""
        exchange, router = flight.exchange, model.router
        request_id = decision.request_id

        def on_first_token() -> None:
            flight.first_token()
            router.first_token(request_id)

        meter = flight.meter = Meter(
            flight.counts,
            exchange.received_s,
            on_first_token=on_first_token,
            on_tokens=lambda count: router.tokens(request_id, count),
        )
        explained = _explain(exchange, decision)
        relay = flight.relay = _relay(flight, call, meter, explained)
        card = model.cards.get(decision.worker_id)
        if card is not None and card.role is Role.DECODE and call.needs is not ModelType.EMBEDDINGS:
            call = await self._prefill.run(flight, call, model.prefill_router(card.namespace))
        request = worker_request(exchange, call, model, decision)
        try:
            answer = await send(self._pool, decision.address, request, relay)
        except AnswerCut as error:
            self._log.warning(
                "answer_cut", request_id=exchange.request_id, worker=decision.worker_name, error=str(error)
            )
            raise Internal("The worker failed while answering") from error
        if answer is not None and serves_nobody(answer):
            raise WorkerRefused(str(error_of(answer)))
        if answer is not None:
            self._answer(flight, meter, answer, explained)

    def _answer(self, flight: Flight, meter: Meter, answer: Answer, headers: Headers) -> None:
        """Answers in one piece: unary ones, and refusals of the worker."""
        meter.usage = read_usage(answer.body)
        if (error := error_of(answer)) is not None:
            raise error
        meter.answered(self._clock())
        body = answer.body if flight.form is None else flight.form.whole(answer.body)
        flight.exchange.answer(answer.status, body, answer.content_type, headers)

    def _refuse(self, flight: Flight, error: RequestError) -> None:
        flight.error = for_log(error, is_workers=flight.decision is not None)
        flight.status = self._policy.overload_status if isinstance(error, Overloaded) else error.status
        exchange = flight.exchange
        if exchange.is_over:
            return
        if exchange.has_started:
            assert isinstance(flight.relay, StreamRelay), "only streams start before they are whole"
            exchange.write(flight.relay.ending(error))
            exchange.end_stream()
        else:
            exchange.refuse(error, status=flight.status)


def _given_up(lost: WorkerUnreachable) -> Unavailable:
    """In the worker's own words, if it had any."""
    return Unavailable(str(lost) if isinstance(lost, WorkerRefused) else "No worker could be reached", retry_after_s=1)


def _relay(flight: Flight, call: Call, meter: Meter, headers: Headers) -> Collector:
    if not call.is_stream:
        return Collector()
    if flight.form is None:
        return StreamRelay(flight.exchange, meter, headers=headers, strips_usage=call.strips_usage)
    return ResponsesRelay(flight.exchange, meter, flight.form, headers=headers)


async def _turn(router: Router, ask: Ask) -> None:
    """Waits while every worker has enough to do, if the router is told to hold requests back."""
    if router.would_wait(ask) is None:
        return
    turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    router.wait(ask, lambda: None if turn.done() else turn.set_result(None))
    try:
        await turn
    except asyncio.CancelledError:
        router.abandon(ask.request_id)
        raise


def _explain(exchange: Exchange, decision: Decision) -> Headers:
    """The decision as headers, for who asked with `x-dynamo-explain: true`."""
    if exchange.fields.get(b"x-dynamo-explain", b"").lower() != b"true":
        return ()
    return (
        (b"x-dynamo-worker-id", b"%x" % decision.worker_id),
        (b"x-dynamo-worker-name", decision.worker_name.encode("latin-1", "replace")),
        (b"x-dynamo-decision", decision.reason.encode("latin-1", "replace")),
        (b"x-dynamo-cached-blocks", b"%d/%d" % (decision.overlap_blocks, decision.total_blocks)),
    )


def _cancelled(exchange: Exchange) -> RequestError:
    return Cancelled("The client hung up") if exchange.is_over else Unavailable("The frontend is shutting down")
