"""What is kept of an error that nobody foresaw: one line for the user, the trace in a file.

Edge: one file. Called by the entry points of the command line and of the detached supervisor.
"""

from __future__ import annotations

import os
import traceback
from pathlib import Path

from dynamo_operator.local.state import state_root, write_private

_VERBOSE = ("debug", "trace")


def bug_line(error: BaseException) -> str:
    """Says what failed and where the trace is: on standard error before this line if DYN_LOG is debug, else in
    `last-bug.log` of the state folder, which holds the latest one only."""
    summary = f"{type(error).__name__}: {error}".splitlines()[0]
    if os.environ.get("DYN_LOG", "").lower().startswith(_VERBOSE):
        traceback.print_exception(error)
        return f"bug: {summary}"
    where = _kept("".join(traceback.format_exception(error)))
    place = f"the trace is in {where}" if where else "the trace could not be written"
    return f"bug: {summary}; {place} (DYN_LOG=debug prints it); please report it"


def _kept(trace: str) -> Path | None:
    path = state_root(os.environ) / "last-bug.log"
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_private(path, trace.encode(errors="backslashreplace"))
    except OSError:
        return None
    return path
