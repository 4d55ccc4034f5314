"""Calls are counted once, for the user they were made for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.cluster.audit import AuditLog


def an_event(**more: Any) -> str:
    event = {
        "stage": "ResponseComplete",
        "verb": "patch",
        "user": {"username": "operator"},
        "objectRef": {"resource": "deployments", "subresource": "status", "namespace": "n", "name": "d"},
        "responseStatus": {"code": 200},
    }
    return json.dumps({**event, **more}) + "\n"


def written(folder: Path, *lines: str) -> AuditLog:
    path = folder / "audit.log"
    with path.open("a") as log:
        log.writelines(lines)
    return AuditLog(path)


def test_a_call_is_counted_when_it_is_answered(tmp_path: Path) -> None:
    log = written(tmp_path, an_event(stage="RequestReceived"), an_event())
    assert log.calls_by_user() == {"operator": 1}
    assert log.calls_by_verb("operator") == {("patch", "deployments/status"): 1}
    assert log.calls()[0].is_write


def test_a_watch_is_counted_once_though_it_begins_and_ends(tmp_path: Path) -> None:
    log = written(tmp_path, an_event(verb="watch", stage="ResponseStarted"), an_event(verb="watch"))
    assert log.calls_by_user() == {"operator": 1}


def test_an_impersonated_user_is_who_called(tmp_path: Path) -> None:
    log = written(tmp_path, an_event(impersonatedUser={"username": "somebody"}))
    assert log.calls_by_user() == {"somebody": 1}


def test_only_calls_after_the_mark_count(tmp_path: Path) -> None:
    log = written(tmp_path, an_event())
    mark = log.mark()
    written(tmp_path, an_event(user={"username": "later"}))
    assert log.calls_by_user(since=mark) == {"later": 1}


def test_a_line_still_being_written_waits(tmp_path: Path) -> None:
    log = written(tmp_path, an_event(), '{"stage": "Resp')
    assert len(log.calls()) == 1


def test_no_log_is_no_call(tmp_path: Path) -> None:
    log = AuditLog(tmp_path / "none")
    assert (log.mark(), log.calls()) == (0, [])
