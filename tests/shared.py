"""Where reference material for tests lies; absent in a plain checkout, then the tests that need it skip."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

SHARED = Path(os.environ.get("DYNAMO_SHARED", Path(__file__).resolve().parents[1].parent / "shared"))


def shared(relative: str) -> Path:
    """The path of reference material, or a skip that says what is missing."""
    path = SHARED / relative
    if not path.exists():
        pytest.skip(f"reference material {relative} is not here (set DYNAMO_SHARED to its folder)")
    return path
