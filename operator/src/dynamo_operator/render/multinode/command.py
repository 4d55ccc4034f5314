"""Command lines of engine containers, read and added to: plain arguments, and scripts given to a shell. Pure.

A script is changed only at the engine's own command (`python3 … -m dynamo.<engine>`), so that what stands before and
after it keeps its meaning. A command line that runs no engine known here is left as it was written.
"""

from __future__ import annotations

import itertools
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Container = dict[str, Any]
Flag = tuple[str, ...]  # the flag's name, and its value where it has one

_SHELLS = ("sh", "bash", "dash", "ash", "zsh")
_SCRIPT_OPTION = re.compile(r"-[A-Za-z]*c[A-Za-z]*")
_PYTHON = re.compile(r"(?:.*/)?python[0-9.]*")
# `python3`, options without an operator of the shell between them, `-m dynamo.<engine>`.
_ENGINE = (
    r"(?<![\w./-])(?:[\w./-]*/)?python[0-9.]*(?:\s+(?!-m\s)[^\s|&;]+)*"
    r"\s+-m\s+(?:\\\s+)?dynamo\.{engine}(?:\.\w+)*(?![\w.])"
)
_PLAIN = re.compile(r"[\w@%+=:,./-]+", re.ASCII)
_EXPANDED = re.compile(r"[$`\\]")
_VARIABLE = re.compile(r"\$(?:\((\w+)\)|\{(\w+)\}|(\w+))")


def command_line(container: Container) -> list[str]:
    """Command and arguments together, as written."""
    return [*map(str, container.get("command") or ()), *map(str, container.get("args") or ())]


def words(container: Container) -> list[str]:
    """The command line's words; where it is a shell with a script, those of the script alone, as its shell would."""
    line = command_line(container)
    script = _script_position(line)
    return line if script is None else _split(line[script])


def given_flags(container: Container) -> Mapping[str, str]:
    """Flags and their values in the order of their last mention; empty text for a flag without a value."""
    line = words(container)
    found: dict[str, str] = {}
    for word, following in itertools.zip_longest(line, line[1:], fillvalue=""):
        name, equals, value = word.partition("=")
        if name.startswith("-"):
            found.pop(flag_name(name), None)
            found[flag_name(name)] = value if equals else ("" if following.startswith("-") else following)
    return found


def flag_name(text: str) -> str:
    """A flag's name in the form of upstream's engines, which take `_` for `-`."""
    return text.replace("_", "-")


def resolved(text: str, container: Container) -> str:
    """`text`, or the value of the container's variable where it is nothing but a reference to one."""
    match = _VARIABLE.fullmatch(text)
    if match is None:
        return text
    values = {each["name"]: each["value"] for each in container.get("env") or () if each.get("value") is not None}
    return str(values.get(next(filter(None, match.groups())), text))


def with_flags(container: Container, engine: str, flags: Sequence[Flag], *, needs_shell: bool) -> Container:
    """The container with flags on its engine's command; those that the user gave stay the user's."""
    given = given_flags(container)
    added = [word for flag in flags if flag_name(flag[0]) not in given for word in flag]
    line = command_line(container)
    script = _script_position(line)
    if script is not None:
        changed = _after_engine(line[script], engine, " ".join(added))
        return _with_word(container, script, changed)
    if not _runs_engine(line, engine) or not added:
        return container
    if needs_shell:
        return as_script(container, f"exec {quoted(line)} {' '.join(added)}", interpreter="sh")
    return {**container, "args": [*(container.get("args") or ()), *added]}


def as_script(container: Container, script: str, *, interpreter: str = "/bin/sh") -> Container:
    """The container running a script instead of its command."""
    return {**container, "command": [interpreter, "-c"], "args": [script]}


def launched_by(container: Container, engine: str, launcher: str) -> str:
    """A script that runs the container's command line with a launcher before its engine."""
    line = command_line(container)
    position = _script_position(line)
    if position is None:
        return f"{launcher} {quoted(line)}"
    script = line[position]
    pieces, end = [], 0
    for match in _engines(script, engine):
        pieces += [script[end : match.start()], launcher, " "]
        end = match.start()
    return "".join([*pieces, script[end:]]) if pieces else f"{launcher} {quoted(line)}"


def quoted(line: Iterable[str]) -> str:
    """Words joined for a shell, which then sees each of them as it was."""
    return " ".join(map(_quoted_word, line))


def _quoted_word(word: str) -> str:
    if _PLAIN.fullmatch(word):
        return word
    if "'" not in word and not _EXPANDED.search(word):
        return '"' + word.replace('"', '\\"') + '"'
    return shlex.quote(word)


def _script_position(line: Sequence[str]) -> int | None:
    """Where the script of `sh -c <script>` stands; None for a command line without one."""
    shell = next((position for position, word in enumerate(line) if word.rsplit("/", 1)[-1] in _SHELLS), None)
    if shell is None:
        return None
    for position in range(shell + 1, len(line) - 1):
        if _SCRIPT_OPTION.fullmatch(line[position]):
            return position + 1
    return None


def _split(script: str) -> list[str]:
    try:
        return shlex.split(script, comments=True)
    except ValueError:  # an open quote; the shell will say so
        return script.split()


def _runs_engine(line: Sequence[str], engine: str) -> bool:
    return bool(line) and (bool(_PYTHON.fullmatch(line[0])) or bool(_engines(" ".join(line), engine)))


def _engines(script: str, engine: str) -> list[re.Match[str]]:
    """The engine's commands in a script, without those in comments."""
    matches = re.finditer(_ENGINE.replace("{engine}", re.escape(engine)), script)
    return [match for match in matches if not _is_comment(script, match.start())]


def _is_comment(script: str, position: int) -> bool:
    return script[script.rfind("\n", 0, position) + 1 : position].lstrip().startswith("#")


def _after_engine(script: str, engine: str, text: str) -> str:
    if not text:
        return script
    for match in reversed(_engines(script, engine)):
        script = f"{script[: match.end()]} {text}{script[match.end() :]}"
    return script


def _with_word(container: Container, position: int, word: str) -> Container:
    command, args = list(container.get("command") or ()), list(container.get("args") or ())
    if position < len(command):
        command[position] = word
        return {**container, "command": command}
    args[position - len(command)] = word
    return {**container, "args": args}
