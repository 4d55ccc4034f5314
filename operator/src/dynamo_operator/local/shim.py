"""Becomes the command it is given, after asking the kernel to kill it when its supervisor dies.

Run as a script (`python -I -S shim.py <supervisor pid> <command> …`) by `child`, so it imports nothing but the standard
library and nothing slow. A flag set between fork and exec in the supervisor would need a `preexec_fn`, which is unsafe
beside threads. Where the kernel has no such request (macOS), `guard` alone does the work.
"""

from __future__ import annotations

import os
import signal
import sys

_PR_SET_PDEATHSIG = 1
_NOT_FOUND = 127
_NOT_STARTABLE = 126


def main(argv: list[str]) -> None:
    supervisor, command = int(argv[1]), argv[2:]
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != supervisor:  # it died before the request was made
        sys.exit(1)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    try:
        os.execvp(command[0], command)  # noqa: S606 - an argument list, as the rendering gives it
    except FileNotFoundError:
        print(f"cannot start: there is no program {command[0]!r} on this machine", file=sys.stderr)
        sys.exit(_NOT_FOUND)
    except OSError as error:
        print(f"cannot start {command[0]!r}: {error.strerror}", file=sys.stderr)
        sys.exit(_NOT_STARTABLE)


if __name__ == "__main__":
    main(sys.argv)
