"""What a worker's refusal means for the client. Pure.

The client gets our own error form whatever the engine's, and an engine's internal failures without their text: it may
carry paths, addresses or memory contents.
"""

from __future__ import annotations

import msgspec

from dynamo.frontend.relay import Answer
from dynamo.wire.errors import (
    Internal,
    InvalidRequest,
    NotFound,
    NotImplementedYet,
    Overloaded,
    RequestError,
    Unavailable,
)

_REFUSALS: dict[int, type[RequestError]] = {
    404: NotFound,
    429: Overloaded,
    501: NotImplementedYet,
    503: Unavailable,
    529: Overloaded,
}
RETRY_AFTER_S = 1


class _Error(msgspec.Struct, frozen=True):
    message: str = ""
    param: str | None = None
    code: str | int | None = None


class _Body(msgspec.Struct, frozen=True):
    """OpenAI's nested form, and the flat one of older engines."""

    error: _Error | str | None = None
    message: str | None = None
    detail: str | msgspec.Raw | None = None
    param: str | None = None


def serves_nobody(answer: Answer) -> bool:
    """Engines say so while they shut down; nothing of the request was begun."""
    return answer.status == 503


def error_of(answer: Answer) -> RequestError | None:
    """The error to give the client; None for a success."""
    if answer.status < 400:
        return None
    error = _read(answer.body)
    if answer.status in _REFUSALS:
        kind = _REFUSALS[answer.status]
        retry_after_s = RETRY_AFTER_S if kind in (Overloaded, Unavailable) else None
        message = error.message or f"The worker refused the request (status {answer.status})"
        return kind(message, param=error.param, retry_after_s=retry_after_s)
    if answer.status < 500:
        return InvalidRequest(
            error.message or f"The worker refused the request (status {answer.status})", param=error.param
        )
    return Internal(f"The worker failed (status {answer.status})")


def _read(body: bytes) -> _Error:
    try:
        found = msgspec.json.decode(body, type=_Body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return _Error()
    if isinstance(found.error, _Error):
        return found.error
    text = found.error or found.message or (found.detail if isinstance(found.detail, str) else None)
    return _Error(message=text or "", param=found.param)
