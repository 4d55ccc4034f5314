"""Free ports of this machine, and who holds a taken one.

Opens sockets and reads /proc, decides nothing about graphs. Called by the command line.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import random
import socket
from pathlib import Path

from dynamo_operator.local.errors import PortInUse, Refused

_FIRST, _LAST = 20_000, 32_000  # below the range that outgoing connections take their ports from
_NEAR = 100  # how far from the wanted port the next free one may be


class FreePorts:
    """Gives out ports that nobody listens on now, each once."""

    def __init__(self, host: str, rng: random.Random) -> None:
        """Raises Refused if this machine cannot listen on `host` at all."""
        if (reason := why_taken(host, 0)) is not None:
            raise Refused(f"--host: cannot listen on {host!r}: it {reason}", "127.0.0.1 and 0.0.0.0 always work")
        self._host = host
        self._rng = rng
        self._taken: set[int] = set()

    def claim(self, port: int) -> int:
        """Exactly this port; raises PortInUse naming its holder and a free neighbour."""
        if not 1 <= port <= 65_535:
            raise Refused(f"--port: found {port}; allowed are 1 to 65535")
        reason = "is given to another process of this graph" if port in self._taken else why_taken(self._host, port)
        if reason is not None:
            free = self.take(port + 1)
            raise PortInUse(f"port {port} on {self._host} {reason}", f"choose another, for example: --port {free}")
        self._taken.add(port)
        return port

    def take(self, wanted: int | None) -> int:
        """`wanted` or the next free one after it; any free port when None."""
        near = range(wanted, min(wanted + _NEAR, 65_536)) if wanted is not None else ()
        anywhere = (self._rng.randrange(_FIRST, _LAST) for _ in range(1000))
        hosts = {self._host, "127.0.0.1"}
        for port in itertools.chain(near, anywhere):
            if port not in self._taken and all(why_taken(host, port) is None for host in hosts):
                self._taken.add(port)
                return port
        raise PortInUse(f"no free port found on {self._host}")


def why_taken(host: str, port: int) -> str | None:
    """None if a server could listen on the port; otherwise the end of the sentence "port N …"."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            probe.listen(1)
        except PermissionError:
            return "needs more rights than this user has"
        except OSError as error:
            holder = _holder(port)
            return (
                f"is in use{f' by {holder}' if holder else ''}"
                if error.errno == errno.EADDRINUSE
                else f"cannot be used: {error.strerror}"
            )
    return None


def _holder(port: int) -> str | None:
    """`name (pid N)` of the process that listens on the port, if /proc tells."""
    inodes = {f"socket:[{inode}]" for inode in _listening_inodes(port)}
    if not inodes:
        return None
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if any(str(fd.readlink()) in inodes for fd in (folder / "fd").iterdir()):
                return f"{(folder / 'comm').read_text().strip()} (pid {folder.name})"
    return None


def _listening_inodes(port: int) -> set[str]:
    found = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with contextlib.suppress(OSError):
            for line in Path(table).read_text().splitlines()[1:]:
                fields = line.split()
                if fields[3] == "0A" and int(fields[1].rpartition(":")[2], 16) == port:
                    found.add(fields[9])
    return found
