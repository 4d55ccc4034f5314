"""Reads upstream's golden files: their matchers are replaced by our values where these match, and stay where not.

`$glob:` and `$pattern:` match text, `$var:` is any one value that is the same everywhere, `{"$ignore": true}` matches
anything, and `"$strict": false` lets a mapping have more keys on our side.
"""

from __future__ import annotations

import fnmatch
import re
from typing import Any

from tests.unit.operator_plane.render.differences import ABSENT


def resolved(golden: Any, ours: Any, variables: dict[str, Any]) -> Any:
    """`golden` with every matcher that holds replaced by our value; `variables` is filled on the way."""
    if isinstance(golden, dict):
        if golden.get("$ignore"):
            return ours
        given = ours if isinstance(ours, dict) else {}
        found = {
            key: resolved(value, given.get(key, ABSENT), variables) for key, value in golden.items() if key != "$strict"
        }
        return {key: value for key, value in {**_rest(golden, given), **found}.items() if value != ABSENT}
    if isinstance(golden, list) and isinstance(ours, list) and len(golden) == len(ours):
        return [resolved(one, other, variables) for one, other in zip(golden, ours, strict=True)]
    if isinstance(golden, str) and golden.startswith("$"):
        return ours if _matches(golden, ours, variables) else golden
    return golden


def _rest(golden: dict[str, Any], ours: dict[str, Any]) -> dict[str, Any]:
    return ours if golden.get("$strict") is False else {}


def _matches(matcher: str, value: Any, variables: dict[str, Any]) -> bool:
    verb, _, argument = matcher[1:].partition(":")
    match verb:
        case "glob":
            return fnmatch.fnmatchcase(str(value), argument)
        case "pattern":
            return re.fullmatch(argument, str(value)) is not None
        case "var":
            return bool(variables.setdefault(argument, value) == value)
        case _:
            raise AssertionError(f"unknown matcher {matcher}")
