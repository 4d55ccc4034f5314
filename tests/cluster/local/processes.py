"""Starts a cluster's programs, and stops exactly those.

A started process is written down with its start time, so that a later run of the tool can stop it and never takes
another process that got the same id. Must not know what the programs are. Called by the boot of the API server and of
the node.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.cluster.errors import ClusterError

STOP_DEADLINE_S = 20.0
_TAIL_BYTES = 3000


@dataclass(frozen=True, slots=True)
class Process:
    """One process, unmistakably: ids are used again, an id with its start time is not."""

    name: str
    pid: int
    started_ticks: int


class Processes:
    """The processes of one cluster; the folder `run/` of its state is the only record."""

    def __init__(self, folder: Path, *, die_with_us: bool) -> None:
        self._records = folder / "run"
        self._logs = folder / "logs"
        self._die_with_us = die_with_us

    def start(self, name: str, command: Sequence[str | Path], env: Mapping[str, str]) -> None:
        """Starts the program unless it runs; its output goes to a log file."""
        if self.is_running(name):
            return
        self._records.mkdir(parents=True, exist_ok=True)
        self._logs.mkdir(parents=True, exist_ok=True)
        words = [*self._leash(), *(str(word) for word in command)]
        with self.log(name).open("ab") as log:
            child = subprocess.Popen(
                words, env=dict(env), stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        started = _started_ticks(child.pid)
        child.returncode = 0  # We watch it by its id from here on, as a later run does; Popen must not warn.
        if started is not None:
            process = Process(name, child.pid, started)
            (self._records / f"{name}.json").write_text(json.dumps(asdict(process)))

    def is_running(self, name: str) -> bool:
        process = self._recorded(name)
        return process is not None and _is_alive(process)

    def pid(self, name: str) -> int | None:
        process = self._recorded(name)
        return process.pid if process and _is_alive(process) else None

    def stop(self, name: str, *, with_signal: signal.Signals = signal.SIGTERM) -> None:
        """Ends the process and waits until it is gone; a process that doesn't end in time is killed."""
        process = self._recorded(name)
        if process and _is_alive(process):
            for number in (with_signal, signal.SIGKILL):
                if _ended(process, number):
                    break
            else:
                raise ClusterError(f"{name} (process {process.pid}) does not end")
        (self._records / f"{name}.json").unlink(missing_ok=True)

    def names(self) -> list[str]:
        return sorted(path.stem for path in self._records.glob("*.json"))

    def ended(self) -> list[str]:
        """The recorded processes that no longer run."""
        return [name for name in self.names() if not self.is_running(name)]

    def log(self, name: str) -> Path:
        return self._logs / f"{name}.log"

    def tails(self, *names: str) -> str:
        return "\n".join(f"--- end of {self.log(name)}\n{_tail(self.log(name))}" for name in names or self.names())

    def _leash(self) -> list[str]:
        """Words before a command that end it with this process, however this process ends."""
        setpriv = shutil.which("setpriv")
        return [setpriv, "--pdeathsig", "KILL", "--"] if self._die_with_us and setpriv else []

    def _recorded(self, name: str) -> Process | None:
        try:
            return Process(**json.loads((self._records / f"{name}.json").read_text()))
        except FileNotFoundError:
            return None


def _is_alive(process: Process) -> bool:
    return _started_ticks(process.pid) == process.started_ticks


def _started_ticks(pid: int) -> int | None:
    """When the process started, in clock ticks since boot; None when it has ended, waited for or not."""
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
    try:
        after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    state, started = after_name[0], after_name[19]
    return None if state in "ZX" else int(started)


def _ended(process: Process, number: signal.Signals) -> bool:
    """Sends the signal; True once the process is gone, False when it still runs at the deadline."""
    try:
        handle = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return True
    try:
        if not _is_alive(process):
            return True
        signal.pidfd_send_signal(handle, number)
        select.select([handle], [], [], STOP_DEADLINE_S)
    except ProcessLookupError:
        return True
    finally:
        os.close(handle)
    return not _is_alive(process)


def _tail(path: Path) -> str:
    if not path.exists():
        return "(nothing)"
    return path.read_bytes()[-_TAIL_BYTES:].decode(errors="replace").strip()
