"""One structured line per decision or request, and ordinary logging beside it, on standard error.

Lines are JSON when `DYN_LOGGING_JSONL` is true, else `time level event key=value …`. Never log prompts, completions or
secrets. Lines are collected for at most `FLUSH_AFTER_S` while an event loop runs, since a write per request is a
system call per request; `flush()` is called at exit.
"""

from __future__ import annotations

import asyncio
import atexit
import datetime
import logging
import re
import sys
import time
from collections.abc import Mapping
from typing import TextIO

import msgspec

FLUSH_AFTER_S = 0.1
_LEVELS = {"trace": 5, "debug": 10, "info": 20, "warn": 30, "warning": 30, "error": 40, "off": 60}

_LEVEL_NAMES = {10: "debug", 20: "info", 30: "warning", 40: "error"}
_NEEDS_QUOTES = re.compile(r'[\s"=]').search

Value = str | int | float | bool | None


class EventLog:
    """Writes structured lines; one per process, passed to whoever decides to speak."""

    def __init__(self, stream: TextIO, *, as_json: bool = False, level: int = logging.INFO) -> None:
        self._stream = stream
        self._as_json = as_json
        self._level = level
        self._pending: list[str] = []
        self._flush_is_scheduled = False
        self._second = 0
        self._second_text = ""

    def info(self, event: str, **fields: Value) -> None:
        self._write(logging.INFO, event, fields)

    def warning(self, event: str, **fields: Value) -> None:
        self._write(logging.WARNING, event, fields)

    def error(self, event: str, **fields: Value) -> None:
        self._write(logging.ERROR, event, fields)

    def debug(self, event: str, **fields: Value) -> None:
        self._write(logging.DEBUG, event, fields)

    def flush(self) -> None:
        lines, self._pending = self._pending, []
        self._flush_is_scheduled = False
        if lines:
            self._stream.write("".join(lines))
            self._stream.flush()

    def _write(self, level: int, event: str, fields: Mapping[str, Value]) -> None:
        if level < self._level:
            return
        self._pending.append(_line(self._now(), level, event, fields, self._as_json))
        if level >= logging.WARNING or not self._schedule_flush():
            self.flush()

    def _now(self) -> str:
        """UTC in ISO form with milliseconds; the text of a second is made once."""
        now_ns = time.time_ns()
        second, rest_ns = divmod(now_ns, 1_000_000_000)
        if second != self._second:
            self._second = second
            self._second_text = datetime.datetime.fromtimestamp(second, datetime.UTC).isoformat()[:19]
        return f"{self._second_text}.{rest_ns // 1_000_000:03d}+00:00"

    def _schedule_flush(self) -> bool:
        """False when no event loop runs: then the line is written at once."""
        if self._flush_is_scheduled:
            return True
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return False
        loop.call_later(FLUSH_AFTER_S, self.flush)
        self._flush_is_scheduled = True
        return True


def _line(now: str, level: int, event: str, fields: Mapping[str, Value], as_json: bool) -> str:
    name = _LEVEL_NAMES.get(level) or logging.getLevelName(level).lower()
    if as_json:
        return msgspec.json.encode({"time": now, "level": name, "event": event, **fields}).decode() + "\n"
    pairs = [f"{now} {name:<7} {event}"]
    for key, value in fields.items():
        # Every request pays for this loop, hence no call per field where none is needed.
        if isinstance(value, str):
            if not value or _NEEDS_QUOTES(value) is not None:
                value = msgspec.json.encode(value).decode()
        elif isinstance(value, float):
            value = f"{value:.6g}"
        elif value is None:
            continue
        pairs.append(f"{key}={value}")
    return " ".join(pairs) + "\n"


class _IntoEvents(logging.Handler):
    """Routes library logging into the same stream, so that a process writes one kind of line."""

    def __init__(self, log: EventLog) -> None:
        super().__init__()
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        fields: dict[str, Value] = {"logger": record.name, "message": record.getMessage()}
        if record.exc_info and record.exc_info[1] is not None:
            fields["error"] = repr(record.exc_info[1])
            if self._log_is_debugging():
                fields["trace"] = logging.Formatter().formatException(record.exc_info)
        self._log._write(record.levelno, "log", fields)

    def _log_is_debugging(self) -> bool:
        return self._log._level <= logging.DEBUG


def start_logging(env: Mapping[str, str], stream: TextIO | None = None) -> EventLog:
    """Reads DYN_LOG (level) and DYN_LOGGING_JSONL; takes over the root logger."""
    level = _LEVELS.get(env.get("DYN_LOG", "info").lower(), logging.INFO)
    as_json = env.get("DYN_LOGGING_JSONL", "").lower() in {"1", "true", "yes", "on"}
    log = EventLog(stream or sys.stderr, as_json=as_json, level=level)
    logging.root.handlers[:] = [_IntoEvents(log)]
    logging.root.setLevel(max(level, logging.INFO))
    for chatty in ("httpx", "httpx2", "httpcore", "httpcore2", "uvicorn.access"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    atexit.register(log.flush)
    return log
