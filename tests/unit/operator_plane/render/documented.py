"""Reads the rows out of docs/compatibility.md."""

from __future__ import annotations

import re
from pathlib import Path

DOCUMENT = Path(__file__).resolve().parents[4] / "docs" / "compatibility.md"
_ROW = re.compile(r"^\| ([A-Z]\d+) \|(.*)\|$", re.MULTILINE)


def documented_rows(prefix: str) -> dict[str, list[str]]:
    """Cells after the id, by id, of rows whose id has this prefix; an id listed twice fails."""
    rows: dict[str, list[str]] = {}
    for match in _ROW.finditer(DOCUMENT.read_text()):
        if match[1].startswith(prefix):
            assert match[1] not in rows, f"{match[1]} is listed twice"
            rows[match[1]] = [cell.strip() for cell in match[2].split("|")]
    return rows


def documented_ids(prefix: str) -> list[str]:
    """Ids in document order."""
    return list(documented_rows(prefix))
