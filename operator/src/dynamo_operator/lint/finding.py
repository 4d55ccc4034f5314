"""One broken contract."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """`rule` is a stable id; `path` leads to the field to change; an error cannot work, a warning works badly."""

    rule: str
    path: str
    message: str
    is_error: bool = True
