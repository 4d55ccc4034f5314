"""Which log lines a user asks for, here and on a cluster alike. Called by `main`, `logs` and `cluster_logs`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LogWish:
    """Whose lines, and which. `is_previous` and `container` only mean something on a cluster."""

    name: str | None
    component: str | None
    is_followed: bool = False
    tail: int = 100
    is_previous: bool = False
    container: str = "main"
