"""The Responses API on top of the chat path: another form of request and answer, the same pipeline between."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass
from typing import Any

import msgspec
from msgspec.structs import replace

from dynamo.frontend.asking import Tokens
from dynamo.frontend.calls import Call, Endpoint, parse_call
from dynamo.frontend.exchange import Exchange
from dynamo.frontend.fleet import Fleet
from dynamo.frontend.meter import Meter
from dynamo.frontend.relay import StreamRelay
from dynamo.wire.errors import Internal, RequestError, Unavailable
from dynamo.wire.http1 import Headers
from dynamo.wire.openai_responses_in import parse_responses, to_chat
from dynamo.wire.openai_responses_out import ResponsesStream, base_document, whole_answer


@dataclass(frozen=True, slots=True)
class ResponsesForm:
    """How this request wants its answer."""

    base: dict[str, Any]

    def whole(self, chat: bytes) -> bytes:
        """Raises Internal when the worker's answer is no chat completion."""
        try:
            return whole_answer(self.base, chat, new_id)
        except (ValueError, KeyError, IndexError, TypeError) as error:
            raise Internal("The worker's answer cannot be read") from error


def parse_responses_call(body: bytes) -> tuple[Call, ResponsesForm]:
    """Raises RequestError."""
    request = parse_responses(body)
    chat = msgspec.json.encode(to_chat(request))
    call = replace(parse_call(Endpoint.CHAT, chat), endpoint=Endpoint.RESPONSES)
    return call, ResponsesForm(base_document(request, new_id("resp_"), int(time.time())))


async def count_input_tokens(body: bytes, fleet: Fleet, tokens: Tokens) -> int:
    """Prompt tokens of a Responses request. Raises RequestError."""
    call, _ = parse_responses_call(body)
    found = fleet.find(call.model, call.needs)
    ids = await tokens.encode(call, found.model)
    if ids is None:
        raise Unavailable(f"Tokens of model {call.model!r} cannot be counted here: its tokenizer could not be used")
    return len(ids)


def new_id(prefix: str) -> str:
    return prefix + secrets.token_hex(24)


class ResponsesRelay(StreamRelay):
    """Passes a chat stream on as response events."""

    def __init__(self, exchange: Exchange, meter: Meter, form: ResponsesForm, *, headers: Headers) -> None:
        super().__init__(exchange, meter, headers=headers, strips_usage=False)
        self._stream = ResponsesStream(form.base, new_id)
        self._has_begun = False

    def _pass_on(self, payload: bytes, raw: bytes | None) -> None:  # noqa: ARG002  # never the same bytes
        opening = b"" if self._has_begun else self._stream.start()
        self._has_begun = True
        if events := opening + self._stream.feed(payload):
            self._exchange.write(events)

    def ending(self, error: RequestError) -> bytes:
        return self._stream.fail(error)
