"""The command line of one replica, and which part of this product it runs. Pure; called by `plan`."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from dynamo_operator.local.expand import expand

_PYTHON = re.compile(r"python(3(\.\d+)?)?")
_MODULE = re.compile(r"(?:^|\s)-m\s+([A-Za-z_][\w.]*)")
_PORT_FLAG = re.compile(r"--(?:[a-z-]+-)?port")
_TIMINGS_FLAG = "--planner-profile-data"
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


def without_image_files(argv: Sequence[str], exists: Callable[[str], bool]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The mocker's command without measured timings that only its image holds, and a note for each left out.

    It has timings of its own; upstream's example manifests name a folder of the image.
    """
    if module_of(argv) != "dynamo.mocker" or is_shell(argv):
        return tuple(argv), ()
    kept: list[str] = []
    notes: list[str] = []
    words = iter(argv)
    for word in words:
        flag, equals, value = word.partition("=")
        if flag != _TIMINGS_FLAG:
            kept.append(word)
            continue
        path = value if equals else next(words, "")
        if PurePosixPath(path).is_absolute() and not exists(path):
            notes.append(f"{flag} is left out: {path} is not on this machine; the mocker's own timings are used")
        else:
            kept += [word] if equals or not path else [word, path]
    return tuple(kept), tuple(notes)


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
