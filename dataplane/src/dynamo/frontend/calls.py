"""A client's request in the form that the rest of the frontend works with, whatever endpoint it came through.

Pure: bytes and headers in, a frozen `Call` out, or a RequestError that names what is wrong.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import UNSET
from msgspec.structs import replace

from dynamo.wire.cards import ModelType
from dynamo.wire.errors import InvalidRequest, UnsupportedMedia
from dynamo.wire.openai_requests import (
    Chat,
    Completions,
    Embeddings,
    Nvext,
    parse_chat,
    parse_completions,
    parse_embeddings,
)
from dynamo.wire.openai_usage import ask_for_usage


class Endpoint(enum.Enum):
    """An inference route; the value is its metric label."""

    CHAT = "chat_completions"
    COMPLETIONS = "completions"
    EMBEDDINGS = "embeddings"
    RESPONSES = "responses"


class Hints(msgspec.Struct, frozen=True):
    """What a request says about its own routing."""

    worker_id: int | None = None
    prefill_worker_id: int | None = None
    dp_rank: int | None = None
    priority: float = 0.0
    strict_priority: int = 0
    expected_output_tokens: int | None = None
    cache_salt: str | None = None


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """One inference request."""

    endpoint: Endpoint
    model: str
    needs: ModelType
    target: bytes
    """Path at the worker's engine."""
    body: bytes
    """What the worker gets."""
    is_stream: bool
    strips_usage: bool
    """We asked for usage on our own account: the client must not see it."""
    request: Chat | Completions | Embeddings
    hints: Hints


CHAT_TARGET = b"/v1/chat/completions"
COMPLETIONS_TARGET = b"/v1/completions"
EMBEDDINGS_TARGET = b"/v1/embeddings"


def parse_call(endpoint: Endpoint, body: bytes, *, hides_usage: bool = True, is_strict: bool = True) -> Call:
    """Raises RequestError. `hides_usage` False lets clients see usage that they did not ask for."""
    if endpoint is Endpoint.EMBEDDINGS:
        request = parse_embeddings(body, is_strict=is_strict)
        return Call(
            endpoint=endpoint,
            model=request.model,
            needs=ModelType.EMBEDDINGS,
            target=EMBEDDINGS_TARGET,
            body=body,
            is_stream=False,
            strips_usage=False,
            request=request,
            hints=_hints(request.nvext, request.cache_salt),
        )
    parse = parse_completions if endpoint is Endpoint.COMPLETIONS else parse_chat
    parsed = parse(body, is_strict=is_strict)
    return _generating(endpoint, body, parsed, hides_usage)


def with_headers(call: Call, headers: Mapping[bytes, bytes]) -> Call:
    """Routing headers win over the body, and the tenant over any salt, in the body that the engine sees too."""
    if _ROUTING_HEADERS.isdisjoint(headers):
        return call
    found: dict[str, Any] = {field: _integer(headers, names) for field, names in _INTEGER_HEADERS.items()}
    hints = replace(call.hints, **{field: value for field, value in found.items() if value is not None})
    body = call.body
    if tenant := headers.get(b"x-tenant-id"):
        salt = tenant.decode("latin-1")
        hints = replace(hints, cache_salt=salt)
        body = set_field(body, "cache_salt", salt)
    return replace(call, hints=hints, body=body)


def without_hints(call: Call) -> Call:
    return replace(call, hints=_NO_HINTS)


def set_field(body: bytes, name: str, value: object) -> bytes:
    """The JSON object `body` with one top-level field set; everything else stays as it was written."""
    document = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    document[name] = msgspec.Raw(msgspec.json.encode(value))
    return msgspec.json.encode(document)


def check_content_type(headers: Mapping[bytes, bytes]) -> None:
    """Raises UnsupportedMedia unless the body says that it is JSON, and plain."""
    found = headers.get(b"content-type", b"")
    media = found.partition(b";")[0].strip().lower()
    if media != b"application/json" and not media.endswith(b"+json"):
        shown = found.decode("latin-1") or "none"
        raise UnsupportedMedia(f"content-type: found {shown}; expected application/json", param="content-type")
    if (coding := headers.get(b"content-encoding", b"identity").lower()) != b"identity":
        raise UnsupportedMedia(
            f"content-encoding: found {coding.decode('latin-1')}; send the body uncompressed", param="content-encoding"
        )


_INTEGER_HEADERS: dict[str, tuple[bytes, ...]] = {
    "worker_id": (b"x-dynamo-worker-instance-id", b"x-worker-instance-id"),
    "prefill_worker_id": (b"x-dynamo-prefill-instance-id", b"x-prefill-instance-id"),
    "dp_rank": (b"x-dynamo-dp-rank", b"x-dp-rank"),
    "priority": (b"x-dynamo-request-priority",),
    "strict_priority": (b"x-dynamo-request-strict-priority",),
}
_ROUTING_HEADERS = frozenset({b"x-tenant-id", *(name for names in _INTEGER_HEADERS.values() for name in names)})


def _integer(headers: Mapping[bytes, bytes], names: tuple[bytes, ...]) -> int | None:
    """Decimal, or a worker's id as the hexadecimal of our own answers behind `0x`."""
    for name in names:
        if (text := headers.get(name)) is not None:
            try:
                return int(text, 16 if text[:2].lower() == b"0x" else 10)
            except ValueError:
                shown, field = text.decode("latin-1"), name.decode()
                raise InvalidRequest(f"{field}: found {shown!r}; expected an integer", param=field) from None
    return None


def _generating(endpoint: Endpoint, body: bytes, request: Chat | Completions, hides_usage: bool) -> Call:
    is_chat = isinstance(request, Chat)
    is_stream = bool(request.stream)
    splices = is_stream and request.stream_options is UNSET
    return Call(
        endpoint=endpoint,
        model=request.model,
        needs=ModelType.CHAT if is_chat else ModelType.COMPLETIONS,
        target=CHAT_TARGET if is_chat else COMPLETIONS_TARGET,
        body=ask_for_usage(body) if splices else body,
        is_stream=is_stream,
        strips_usage=splices and hides_usage,
        request=request,
        hints=_hints(request.nvext, request.cache_salt),
    )


def _hints(nvext: Nvext | None, cache_salt: str | None) -> Hints:
    if nvext is None:
        return _NO_HINTS if cache_salt is None else Hints(cache_salt=cache_salt)
    agent = nvext.agent_hints
    return Hints(
        worker_id=nvext.decode_worker_id if nvext.backend_instance_id is None else nvext.backend_instance_id,
        prefill_worker_id=nvext.prefill_worker_id,
        dp_rank=nvext.dp_rank,
        priority=(agent.priority if agent and agent.priority is not None else 0.0),
        strict_priority=(agent.strict_priority if agent and agent.strict_priority is not None else 0),
        expected_output_tokens=agent.osl if agent else None,
        cache_salt=nvext.cache_salt or cache_salt,
    )


_NO_HINTS = Hints()
