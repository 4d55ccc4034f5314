"""The command line of one replica, and which part of this product it runs. Pure; called by `plan`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from dynamo_operator.local.expand import expand

_PYTHON = re.compile(r"python(3(\.\d+)?)?")
_MODULE = re.compile(r"(?:^|\s)-m\s+([A-Za-z_][\w.]*)")
_PORT_FLAG = re.compile(r"--(?:[a-z-]+-)?port")
_SHELLS = frozenset({"sh", "bash", "dash", "ash", "zsh"})


def command_line(
    container: Mapping[str, Any], env: Mapping[str, str], ports: Mapping[int, int], python: str
) -> tuple[str, ...]:
    """Command and arguments, expanded; empty if none is given. `python`: path of this interpreter."""
    words = [str(word) for word in [*(container.get("command") or ()), *(container.get("args") or ())]]
    argv = [expand(word, env) for word in words]
    if argv and _PYTHON.fullmatch(PurePosixPath(argv[0]).name):
        argv[0] = python
    return _move_ports(argv, ports)


def module_of(argv: Sequence[str]) -> str | None:
    """The module that `python -m` runs, also inside a shell script; None when the command is something else."""
    found = _MODULE.search(" ".join(argv))
    return found.group(1) if found else None


def is_shell(argv: Sequence[str]) -> bool:
    return bool(argv) and PurePosixPath(argv[0]).name in _SHELLS


def _move_ports(argv: Sequence[str], ports: Mapping[int, int]) -> tuple[str, ...]:
    """Replaces `--…port N` and `--…port=N` where N is a port that was moved."""
    moved: list[str] = []
    for before, word in zip(["", *argv], argv, strict=False):
        flag, equals, value = word.partition("=")
        if equals and _PORT_FLAG.fullmatch(flag) and _moved(value, ports):
            moved.append(f"{flag}={_moved(value, ports)}")
        elif _PORT_FLAG.fullmatch(before) and _moved(word, ports):
            moved.append(str(_moved(word, ports)))
        else:
            moved.append(word)
    return tuple(moved)


def _moved(text: str, ports: Mapping[int, int]) -> int | None:
    return ports.get(int(text)) if text.isdigit() else None
