"""How failures are named in log lines: without what they quote, which may be a prompt. Pure."""

from __future__ import annotations

import traceback
from pathlib import PurePath

from dynamo.wire.errors import InvalidRequest, RequestError


def defect(error: BaseException) -> str:
    """An unexpected exception by kind and innermost line: `KeyError at pipeline.py:87 (_parse)`."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" at {PurePath(frames[-1].filename).name}:{frames[-1].lineno} ({frames[-1].name})" if frames else ""
    return type(error).__name__ + place


def for_log(error: RequestError, *, is_workers: bool) -> RequestError:
    """The error without the value it found; of a worker's own text nothing but the field it names."""
    if not isinstance(error, InvalidRequest):
        return error
    if is_workers:
        return InvalidRequest("The worker refused the request", param=error.param)
    field, found, _ = error.message.partition(": found")
    return InvalidRequest(field + (": the value is refused" if found else ""), param=error.param)
