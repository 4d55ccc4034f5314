"""What can keep a graph from running on this machine.

    Refused           the user can fix it: the message says what was found, the hint what to do
      PortInUse       a listening port is taken
      StartFailed     a process ended again and again before it was ready

The command line prints `message` and `hint` and exits 1; nobody else catches them.
"""

from __future__ import annotations


class Refused(Exception):
    """The request cannot be carried out; `hint` is the next thing to try, empty if there is none."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class PortInUse(Refused):
    """A port that must be listened on is taken by another process."""


class StartFailed(Refused):
    """A process ended before it was ever ready, more often than start-up trouble explains."""
