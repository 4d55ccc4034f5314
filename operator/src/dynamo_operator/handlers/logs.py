"""One line per event on standard error: `event key=value …` as text, the same in an object as JSON."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import Any

import msgspec

QUIET = ("kopf", "httpx2", "httpcore2", "aiohttp", "asyncio")


class TextLine(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return f"{_time(record)} {record.levelname.lower()} {_message(record)}"


class JsonLine(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": _message(record),
        }
        return msgspec.json.encode(line).decode()


def start_logging(level: str, form: str) -> None:
    """`form` is json or text. Libraries speak up from warnings on."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLine() if form == "json" else TextLine())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for name in QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
    # It warns of every start outside the main thread, where signals are not its own: they are not meant to be.
    logging.getLogger("kopf._core.reactor.running").setLevel(logging.ERROR)


def _message(record: logging.LogRecord) -> str:
    """One line; of a crash the place where it happened."""
    message = record.getMessage().replace("\n", "\\n")
    crash = getattr(record, "crash", None) or (record.exc_info[1] if record.exc_info else None)
    return f"{message} at={_place(crash)}" if crash else message


def _place(crash: BaseException) -> str:
    trace = crash.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return "unknown"
    return f"{trace.tb_frame.f_globals.get('__name__')}:{trace.tb_lineno}"


def _time(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
