"""How an unexpected exception is named in a log line: by kind and place. Pure.

Never by its message: those of decoders and templates quote what they were given, which may be a prompt.
"""

from __future__ import annotations

import traceback
from pathlib import PurePath


def defect(error: BaseException) -> str:
    """`KeyError at pipeline.py:87 (_parse)`: the innermost line."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" at {PurePath(frames[-1].filename).name}:{frames[-1].lineno} ({frames[-1].name})" if frames else ""
    return type(error).__name__ + place
