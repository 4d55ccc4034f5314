"""Errors a client sees, in OpenAI's nested form, and their HTTP statuses.

    RequestError                    status  type
    ├── InvalidRequest              400     invalid_request_error
    ├── NotFound                    404     not_found_error
    ├── MethodNotAllowed            405     invalid_request_error
    ├── BodyTooLarge                413     invalid_request_error
    ├── UnsupportedMedia            415     invalid_request_error
    ├── Cancelled                   499     client_closed_request
    ├── Internal                    500     internal_server_error
    ├── NotImplementedYet           501     not_implemented_error
    ├── Unavailable                 503     service_unavailable
    └── Overloaded                  529     overloaded_error   (status from DYN_HTTP_OVERLOAD_STATUS_CODE)

Frontend and mocker raise them; one function at each edge turns them into a response.
"""

from __future__ import annotations

from typing import ClassVar

import msgspec


class RequestError(Exception):
    """A request that cannot be answered; carries what the client and the metrics need to know."""

    status: ClassVar[int] = 500
    type: ClassVar[str] = "internal_server_error"
    metric_type: ClassVar[str] = "internal"
    """Value of the `error_type` label."""

    def __init__(
        self,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        retry_after_s: int | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.code = code
        self.retry_after_s = retry_after_s


class InvalidRequest(RequestError):
    """The client must change the request; `param` names the field."""

    status = 400
    type = "invalid_request_error"
    metric_type = "validation"


class NotFound(RequestError):
    """No such model, route or object."""

    status = 404
    type = "not_found_error"
    metric_type = "not_found"


class MethodNotAllowed(RequestError):
    status = 405
    type = "invalid_request_error"
    metric_type = "validation"


class BodyTooLarge(RequestError):
    status = 413
    type = "invalid_request_error"
    metric_type = "validation"


class UnsupportedMedia(RequestError):
    status = 415
    type = "invalid_request_error"
    metric_type = "validation"


class Cancelled(RequestError):
    """The client hung up; nobody reads this answer, it exists for logs and metrics."""

    status = 499
    type = "client_closed_request"
    metric_type = "cancelled"


class Internal(RequestError):
    """The worker or we failed; the request may be retried."""


class NotImplementedYet(RequestError):
    status = 501
    type = "not_implemented_error"
    metric_type = "not_implemented"


class Unavailable(RequestError):
    """No worker can take the request now: none is there, its set is incomplete, or we are draining."""

    status = 503
    type = "service_unavailable"
    metric_type = "unavailable"


class Overloaded(RequestError):
    """Workers are there but full; retry after `retry_after_s`."""

    status = 529
    type = "overloaded_error"
    metric_type = "overload"


def error_body(error: RequestError, *, status: int | None = None) -> bytes:
    """`{"error": {message, type, param, code}}`; `code` falls back to the HTTP status."""
    return msgspec.json.encode(
        {
            "error": {
                "message": error.message,
                "type": error.type,
                "param": error.param,
                "code": error.code or (status or error.status),
            }
        }
    )
