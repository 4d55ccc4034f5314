"""The supervisor's end of the pipe to its `guard`. Edge: one process. Called by the supervisor and its children."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

_SCRIPT = Path(__file__).with_name("guard.py")
_CLOSE_DEADLINE_S = 5


class Guard:
    """Kills announced process groups when this process is gone. A context: leaving it kills what is still announced."""

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", str(_SCRIPT)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.close()
        try:
            self._process.wait(_CLOSE_DEADLINE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def announce(self, pid: int, began: str) -> None:
        self._say(f"+ {pid} {began.replace(' ', '_')}\n")

    def forget(self, pid: int) -> None:
        self._say(f"- {pid}\n")

    def _say(self, line: str) -> None:
        # A guard that somebody killed cannot help any more; the kernel's request in `shim` still stands.
        with contextlib.suppress(BrokenPipeError, ValueError):
            if self._process.stdin is not None:
                self._process.stdin.write(line.encode())
                self._process.stdin.flush()
