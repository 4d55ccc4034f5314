"""Whoever searches logs types an event's name: all are written alike."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import dynamo.frontend

SOURCES = Path(dynamo.frontend.__file__).parents[1]
LEVELS = frozenset({"debug", "info", "warning", "error"})


def events(path: Path) -> list[tuple[str, str]]:
    """(place, event) of every call of an EventLog: `log.info("…")`, `self._log.info("…")`, `worker.log.info("…")`."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in LEVELS):
            continue
        target = ast.unparse(node.func.value)
        if target.endswith(("log", "._log")) and target != "_log" and node.args:
            assert isinstance(node.args[0], ast.Constant), f"{path}:{node.lineno}: an event is a literal"
            found.append((f"{path.name}:{node.lineno}", str(node.args[0].value)))
    return found


def test_every_event_is_in_snake_case() -> None:
    found = [one for path in SOURCES.rglob("*.py") for one in events(path)]

    assert len(found) > 20
    assert [one for one in found if not re.fullmatch(r"[a-z]+(_[a-z]+)*", one[1])] == []
