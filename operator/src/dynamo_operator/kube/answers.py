"""What an API server's refusal means for us: from status code and Status document to the error tree. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from dynamo_operator.kube.errors import (
    Blocked,
    Conflict,
    Ending,
    Forbidden,
    Gone,
    Invalid,
    KubeError,
    Throttled,
    Unreachable,
)

MESSAGE_LIMIT = 1000  # a condition's message may hold 32 KiB, an Event's 1 KiB
RETRY_AFTER_DEFAULT_S = 1.0
_DENIED = "denied the request"
_NOT_ASKED = "failed calling webhook"


def refusal(code: int, body: bytes, headers: Mapping[str, str]) -> KubeError:
    """The error for an answer with a status code of 400 or more."""
    status = _status(body)
    message = str(status.get("message") or f"the API server answered {code}")[:MESSAGE_LIMIT]
    if code == 429:
        return Throttled(message, _retry_after_s(headers, status))
    if _is_denial(message, status):
        return Invalid(message)
    if code == 403 and _names_cause(status, "NamespaceTerminating"):
        return Ending(message)
    if code == 422 and _names_field(status, "metadata.uid"):
        # Uids do not change: what we saw under this name was replaced by another object.
        return Conflict(message)
    if code == 500 and _NOT_ASKED in message:
        return Blocked(message)
    if code == 410:
        # An expired list position: the same question asked anew is answered.
        return Unreachable(message)
    return _BY_CODE.get(code, Invalid if code < 500 else Unreachable)(message)


_BY_CODE: Mapping[int, type[KubeError]] = {401: Forbidden, 403: Forbidden, 404: Gone, 408: Unreachable, 409: Conflict}


def _status(body: bytes) -> Mapping[str, Any]:
    try:
        status = msgspec.json.decode(body)
    except msgspec.DecodeError:
        return {}
    return status if isinstance(status, dict) else {}


def _is_denial(message: str, status: Mapping[str, Any]) -> bool:
    """An admission webhook or policy said no; it may choose any code for it, 403 by default."""
    if status.get("reason") in {"Conflict", "AlreadyExists"}:
        return False
    return message.startswith("admission webhook") and _DENIED in message


def _names_cause(status: Mapping[str, Any], reason: str) -> bool:
    causes = (status.get("details") or {}).get("causes") or ()
    return any(cause.get("reason") == reason for cause in causes)


def _names_field(status: Mapping[str, Any], path: str) -> bool:
    causes = (status.get("details") or {}).get("causes") or ()
    return any(cause.get("field") == path for cause in causes)


def _retry_after_s(headers: Mapping[str, str], status: Mapping[str, Any]) -> float:
    try:
        return float(headers["Retry-After"])
    except (KeyError, ValueError):
        return float((status.get("details") or {}).get("retryAfterSeconds") or RETRY_AFTER_DEFAULT_S)
