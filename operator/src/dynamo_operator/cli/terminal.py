"""Colours, only on a terminal and never with NO_COLOR, and plain aligned columns.

Lines are as long as what they say: whoever reads a pipe, or copies a name, wants it whole. Only a screen that is drawn
again and again holds what fits on it. Called by the commands.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Sequence
from typing import TextIO

Paint = Callable[[str, str], str]
"""(text, style) -> the text, coloured or not; styles: bold, dim, green, yellow, red. No style: as it is."""

_CODES = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33"}
_TONES = {
    "True": "green",
    "successful": "green",
    "Running": "green",
    "False": "red",
    "failed": "red",
    "Failed": "red",
    "pending": "yellow",
    "Pending": "yellow",
    "Unknown": "yellow",
}
_GAP = 3


def paint_for(stream: TextIO) -> Paint:
    is_coloured = stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    return _coloured if is_coloured else plain


def plain(text: str, _: str) -> str:
    return text


def columns(headings: Sequence[str], rows: Sequence[Sequence[str]], paint: Paint = plain) -> list[str]:
    """Headings and rows, aligned on the left; well-known words are coloured by what they mean."""
    widths = [max(len(row[at]) for row in (headings, *rows)) for at in range(len(headings))]
    return [_line([paint(text, "bold") for text in headings], headings, widths)] + [
        _line([paint(text, tone(text)) for text in row], row, widths) for row in rows
    ]


def screenful(
    headings: Sequence[str], rows: Sequence[Sequence[str]], paint: Paint, *, width: int, height: int
) -> list[str]:
    """`columns`, of them and of the rows as many as fit; the last line says what did not. A line that wraps, or a table
    that scrolls, would leave its beginning behind each time the screen is drawn."""
    sizes = [max(len(row[at]) for row in (headings, *rows)) for at in range(len(headings))]
    ends = list(itertools.accumulate(sizes, lambda end, size: end + _GAP + size))
    shown = max(1, sum(end <= width for end in ends))
    room = max(1, height - 1)
    kept = rows if shown == len(headings) and len(rows) <= room else rows[: max(1, room - 1)]
    lines = columns(headings[:shown], [row[:shown] for row in kept], paint)
    missing = [
        *([f"{len(rows) - len(kept)} of {len(rows)} rows"] if len(kept) < len(rows) else []),
        *([f"{', '.join(headings[shown:])}"] if shown < len(headings) else []),
    ]
    return [*lines, paint(f"not shown: {'; '.join(missing)}"[:width], "dim")] if missing else lines


def tone(text: str) -> str:
    """The style of a status word; of counts such as 1/2, whether they are complete."""
    have, slash, wanted = text.partition("/")
    if slash and have.isdigit() and wanted.isdigit():
        return "green" if int(have) >= int(wanted) else "yellow"
    return _TONES.get(text, "red" if text.endswith(("BackOff", "Error")) else "")


def _coloured(text: str, style: str) -> str:
    return f"\033[{_CODES[style]}m{text}\033[0m" if style and text else text


def _line(shown: Sequence[str], texts: Sequence[str], widths: Sequence[int]) -> str:
    padded = (piece + " " * (width - len(text)) for piece, text, width in zip(shown, texts, widths, strict=True))
    return (" " * _GAP).join(padded).rstrip()
