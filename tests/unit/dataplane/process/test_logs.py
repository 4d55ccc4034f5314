from __future__ import annotations

import io
import logging

import msgspec
import pytest

from dynamo.process.logs import EventLog, start_logging


def test_line_is_written_at_once_without_an_event_loop() -> None:
    stream = io.StringIO()

    EventLog(stream).info("request", model="m", duration_s=0.25, note="two words", absent=None)

    assert stream.getvalue().endswith(' info    request model=m duration_s=0.25 note="two words"\n')


def test_json_line_keeps_types() -> None:
    stream = io.StringIO()

    EventLog(stream, as_json=True).info("request", tokens=3, ok=True)

    assert msgspec.json.decode(stream.getvalue()) | {"time": ""} == {
        "time": "",
        "level": "info",
        "event": "request",
        "tokens": 3,
        "ok": True,
    }


async def test_lines_are_collected_while_a_loop_runs_and_warnings_are_not() -> None:
    stream = io.StringIO()
    log = EventLog(stream)

    log.info("first")
    held_back = stream.getvalue()
    log.warning("second")

    assert held_back == ""
    assert [line.split()[2] for line in stream.getvalue().splitlines()] == ["first", "second"]


def test_level_comes_from_the_environment_and_libraries_share_the_stream() -> None:
    stream = io.StringIO()
    handlers, level = logging.root.handlers[:], logging.root.level
    try:
        log = start_logging({"DYN_LOG": "warn"}, stream)
        log.info("hidden")
        logging.getLogger("library").warning("trouble with %s", "x")
        log.flush()
    finally:
        logging.root.handlers[:] = handlers
        logging.root.setLevel(level)

    assert "hidden" not in stream.getvalue()
    assert 'logger=library message="trouble with x"' in stream.getvalue()


def test_exception_is_named_without_a_stack_trace() -> None:
    stream = io.StringIO()
    handlers, level = logging.root.handlers[:], logging.root.level
    try:
        log = start_logging({}, stream)
        try:
            raise ValueError("boom")
        except ValueError:
            logging.getLogger("library").exception("failed")
        log.flush()
    finally:
        logging.root.handlers[:] = handlers
        logging.root.setLevel(level)

    assert "ValueError('boom')" in stream.getvalue()
    assert "Traceback" not in stream.getvalue()


@pytest.mark.parametrize("library", ["httpx", "httpx2", "httpcore", "uvicorn.access"])
def test_libraries_do_not_tell_of_every_request(library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logging.getLogger(library), "propagate", True)  # another test's server may have cut it off
    kept, level = logging.root.handlers[:], logging.root.level
    stream = io.StringIO()
    try:
        start_logging({}, stream)
        logging.getLogger(library).info("HTTP Request: GET /")
        logging.getLogger(library).warning("retrying")
    finally:
        logging.root.handlers[:] = kept
        logging.root.setLevel(level)

    assert "GET" not in stream.getvalue()
    assert "retrying" in stream.getvalue()
