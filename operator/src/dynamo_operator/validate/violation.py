"""What is wrong with a manifest, as a value that prints as one clear line.

Pure. Every rule of this package yields these; the command line and the admission webhook print them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sized
from dataclasses import dataclass
from difflib import get_close_matches

SHOWN_CHARACTERS = 60


@dataclass(frozen=True, slots=True)
class Violation:
    """One broken rule: where (`spec.components[1].type`), what was found, what is allowed, and the rule.

    `found` and `allowed` are ready to print and may be empty; `nearest` is the valid name that was probably meant.
    """

    path: str
    found: str
    allowed: str
    message: str
    nearest: str = ""

    def __str__(self) -> str:
        return f"{self.place}: {self.explanation}"

    @property
    def place(self) -> str:
        """The path, safe to print."""
        return printable(self.path)

    @property
    def explanation(self) -> str:
        """The line without its path, for answers that carry the path by itself."""
        facts = []
        if self.found:
            facts.append(f"found {self.found}")
        if self.allowed:
            facts.append(f"allowed: {self.allowed}")
        line = self.message
        if facts:
            line += f" ({', '.join(facts)})"
        line += f"; did you mean {self.nearest}?" if self.nearest else ""
        return printable(line)


def printable(line: str) -> str:
    """Names come from outside: a line break or terminal code in one must not reach the reader."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line)


def shown(value: object) -> str:
    """The value as short JSON; a mapping or list shows only its kind and size, since it may be long or secret."""
    if value is None:
        return "nothing"
    if isinstance(value, Mapping):
        return f"an object of {counted(value, 'field')}" if value else "an empty object"
    if isinstance(value, list | tuple):
        return f"a list of {counted(value, 'item')}" if value else "an empty list"
    if isinstance(value, str | int | float | bool):
        text = json.dumps(value, ensure_ascii=False)
        return text if len(text) <= SHOWN_CHARACTERS else text[: SHOWN_CHARACTERS - 1] + '…"'
    return str(value)


def counted(values: Sized, one: str) -> str:
    """`1 item`, `2 items`."""
    return f"{len(values)} {one}" if len(values) == 1 else f"{len(values)} {one}s"


def nearest(name: str, names: Iterable[str]) -> str:
    """The closest of `names`, whatever the case of its letters; empty if none is close."""
    by_lower = {candidate.lower(): candidate for candidate in names}
    matches = get_close_matches(name.lower(), by_lower, n=1, cutoff=0.6)
    return by_lower[matches[0]] if matches else ""


def listed(names: Iterable[str]) -> str:
    return ", ".join(names)
