"""What differs between two documents, field by field, in words that a reader can follow back to a manifest. Pure.

List items that have a name are compared by it (`containers[main]`), all others by position. Values of variables whose
name speaks of a secret are hidden. Called by the preview of a change.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

HIDDEN = "(hidden)"
_SECRET = re.compile(r"(?i)(token|secret|passw|credential|api_?key|access_?key|private_?key)")
_VARIABLE = re.compile(r"\.(env|envs)\[([^\]]+)\]")
_PLAIN_KEY = re.compile(r"[A-Za-z0-9_-]+")
_LONGEST = 60


@dataclass(frozen=True, slots=True)
class Difference:
    """One field; `before` or `after` is None where the document lacks it."""

    path: str
    before: Any
    after: Any

    def __str__(self) -> str:
        if self.before is None:
            return f"{self.path}: + {_short(self.after)}"
        if self.after is None:
            return f"{self.path}: - {_short(self.before)}"
        return f"{self.path}: {_short(self.before)} -> {_short(self.after)}"


def differences(before: Any, after: Any, path: str = "") -> tuple[Difference, ...]:
    """Every field that is not the same, in the order of the newer document."""
    return tuple(_differences(before, after, path))


def _differences(before: Any, after: Any, path: str) -> Iterator[Difference]:
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for key in dict.fromkeys([*after, *before]):
            yield from _differences(before.get(key), after.get(key), _beneath(path, str(key)))
    elif _is_list(before) and _is_list(after) and (pairs := _pairs(before, after)) is not None:
        for name, old, new in pairs:
            yield from _differences(old, new, f"{path}[{name}]")
    elif before != after:
        is_secret = any(_SECRET.search(match.group(2)) for match in _VARIABLE.finditer(path))
        yield Difference(path, _veiled(before), _veiled(after)) if is_secret else Difference(path, before, after)


def _pairs(before: Sequence[Any], after: Sequence[Any]) -> list[tuple[str, Any, Any]] | None:
    """Items that belong together; None where only the lists as a whole can be compared."""
    old, new = _by_name(before), _by_name(after)
    if old is not None and new is not None:
        return [(name, old.get(name), new.get(name)) for name in dict.fromkeys([*new, *old])]
    if len(before) == len(after):
        return [(str(at), one, other) for at, (one, other) in enumerate(zip(before, after, strict=True))]
    return None


def _by_name(items: Sequence[Any]) -> Mapping[str, Any] | None:
    named = {str(item["name"]): item for item in items if isinstance(item, Mapping) and item.get("name")}
    return named if len(named) == len(items) else None


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)


def _beneath(path: str, key: str) -> str:
    if not _PLAIN_KEY.fullmatch(key):
        return f"{path}[{key}]"
    return f"{path}.{key}" if path else key


def _veiled(value: Any) -> Any:
    return None if value is None else HIDDEN


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=list)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
