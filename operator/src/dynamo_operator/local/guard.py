"""Outlives the supervisor just long enough to kill what it left behind.

Run as a script by `supervise`, with a pipe from the supervisor as standard input: `+ <pid> <start>` announces a process
group, `- <pid>` says that it is gone. When the pipe closes, for whatever reason, every group still announced is killed,
grandchildren included. Imports only the standard library: it must start fast.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from pathlib import Path


def main() -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    groups: dict[int, str] = {}
    for line in sys.stdin:
        sign, pid, *start = line.split()
        if sign == "+":
            groups[int(pid)] = start[0]
        else:
            groups.pop(int(pid), None)
    for pid, began in groups.items():
        if _is_same(pid, began):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, signal.SIGKILL)


def _is_same(pid: int, began: str) -> bool:
    """A leader that is gone still reserves its number while its group lives; another start time means reuse."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19] == began
    except OSError:
        return True


if __name__ == "__main__":
    main()
