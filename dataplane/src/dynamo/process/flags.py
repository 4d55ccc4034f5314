"""Command-line flags with environment fallbacks, read once at start.

A table of `Flag`s says what a process takes; the command line beats the environment beats the default. Unknown flags
stop the start with the nearest known name. Flags that upstream has and this product does not need are listed as
`Retired`: accepted, with one warning line that says what replaces them, so existing manifests start.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_TRUE = frozenset({"1", "true", "yes", "on"})
_FALSE = frozenset({"0", "false", "no", "off", ""})


class FlagError(Exception):
    """A flag or variable that cannot be used; the message names it, what was found and what is allowed."""


@dataclass(frozen=True, slots=True)
class Flag:
    """One setting. A boolean's `parse` is `boolean`: it takes no value and can be negated as `--no-x`."""

    name: str
    parse: Callable[[str], Any]
    default: Any
    env: tuple[str, ...] = ()
    help: str = ""
    short: str | None = None
    repeatable: bool = False

    @property
    def key(self) -> str:
        return self.name.removeprefix("--").replace("-", "_")


@dataclass(frozen=True, slots=True)
class Retired:
    """An upstream flag or variable without effect here."""

    name: str
    instead: str
    """What replaces it, as the end of the sentence "--x has no effect here: …"."""
    takes_value: bool = True
    env: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Parsed:
    values: Mapping[str, Any]
    """By `Flag.key`."""
    warnings: tuple[str, ...]


def boolean(text: str) -> bool:
    if text.lower() in _TRUE:
        return True
    if text.lower() in _FALSE:
        return False
    raise ValueError("expected true or false")


def one_of(*allowed: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text not in allowed:
            raise ValueError(f"expected one of {', '.join(allowed)}")
        return text

    return parse


def number(
    kind: Callable[[str], int] | Callable[[str], float],
    *,
    least: float | None = None,
    most: float | None = None,
) -> Callable[[str], Any]:
    """A number of `kind` (int or float) within [least, most]."""
    noun = "an integer" if kind is int else "a number"

    def parse(text: str) -> int | float:
        try:
            value = kind(text)
        except ValueError:
            raise ValueError(f"expected {noun}") from None
        if (least is not None and value < least) or (most is not None and value > most) or value != value:
            bounds = f"{'' if least is None else f' from {least:g}'}{'' if most is None else f' to {most:g}'}"
            raise ValueError(f"expected {noun}{bounds}")
        return value

    return parse


def parse_flags(
    argv: Sequence[str], env: Mapping[str, str], flags: Sequence[Flag], retired: Sequence[Retired] = ()
) -> Parsed:
    """Raises FlagError for an unknown flag, a missing value or a value that does not parse."""
    values = {flag.key: _from_env(flag, env) for flag in flags}
    warnings = [_warning(item) for item in retired if any(env.get(name) for name in item.env)]
    names = {name: flag for flag in flags for name in (flag.name, flag.short) if name}
    gone = {item.name: item for item in retired}
    rest = list(argv)
    seen: set[str] = set()
    while rest:
        word = rest.pop(0)
        name, has_value, value = word.partition("=")
        if (item := gone.get(name) or gone.get(_positive(name))) is not None:
            if item.takes_value and not has_value and rest and not _is_flag(rest[0]):
                rest.pop(0)
            warnings.append(_warning(item))
            continue
        flag = names.get(name) or names.get(_positive(name))
        if flag is None or (name not in names and flag.parse is not boolean):
            raise FlagError(_unknown(word, [*names, *gone]))
        if flag.parse is boolean:
            text = value if has_value else str(name in names).lower()
        elif has_value:
            text = value
        elif rest and not _is_flag(rest[0]):
            text = rest.pop(0)
        else:
            raise FlagError(f"{name}: a value is missing")
        parsed = _parse(flag, name, text)
        if flag.repeatable:
            values[flag.key] = (*(values[flag.key] if flag.key in seen else ()), parsed)
        else:
            values[flag.key] = parsed
        seen.add(flag.key)
    return Parsed(values, tuple(dict.fromkeys(warnings)))


def usage(program: str, about: str, flags: Sequence[Flag]) -> str:
    """The text of `--help`: each flag with its environment variable and default."""
    lines = [f"usage: {program} [flags]", "", about, ""]
    for flag in flags:
        shown = flag.name if flag.parse is not boolean else f"--[no-]{flag.name.removeprefix('--')}"
        notes = [*(f"env {name}" for name in flag.env), f"default {_shown(flag.default)}"]
        lines.append(f"  {shown}")
        lines.append(f"      {flag.help} ({', '.join(notes)})".replace("  (", " ("))
    return "\n".join(lines)


def _shown(default: object) -> str:
    return (
        "none"
        if default is None or default == ()
        else str(default).lower()
        if isinstance(default, bool)
        else str(default)
    )


def _from_env(flag: Flag, env: Mapping[str, str]) -> Any:
    for name in flag.env:
        text = env.get(name)
        if text:
            if flag.repeatable:
                return tuple(_parse(flag, name, part.strip()) for part in text.split(",") if part.strip())
            return _parse(flag, name, text)
    return flag.default


def _parse(flag: Flag, name: str, text: str) -> Any:
    try:
        return flag.parse(text)
    except ValueError as error:
        raise FlagError(f"{name}: found {text!r}; {error}") from None


def _is_flag(word: str) -> bool:
    return word.startswith("-") and not word.lstrip("-").replace(".", "", 1).isdigit()


def _positive(name: str) -> str:
    return f"--{name.removeprefix('--no-')}" if name.startswith("--no-") else name


def _warning(item: Retired) -> str:
    return f"{item.name} has no effect here: {item.instead}"


def _unknown(word: str, known: Sequence[str]) -> str:
    name = word.partition("=")[0]
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    hint = f"; did you mean {near[0]}?" if near else "; --help lists them"
    return f"unknown flag {name}{hint}" if _is_flag(word) else f"unexpected argument {word!r}{hint}"
