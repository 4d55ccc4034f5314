"""What a running graph leaves on disk: one folder per graph with a lock, the state, logs and discovery cards.

`$XDG_STATE_HOME/dynamo/<graph>` (default `~/.local/state`), readable by its owner only. The lock is held by whoever
supervises, so a graph is up exactly while the lock is taken; the kernel lets go of it whatever happens. Process ids are
kept with their start times, so that nobody signals a stranger that got the same number later. Decides nothing.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec

from dynamo_operator.local.errors import Refused

Status = Literal["starting", "ready", "unready", "waiting", "stopping", "stopped"]


class ProcessState(msgspec.Struct, frozen=True):
    """One process as the supervisor last saw it. `waiting`: it ended and will be started again."""

    name: str
    pod: str
    component: str
    role: str
    status: Status
    pid: int | None = None
    started: str | None = None
    """The kernel's start time of `pid`, opaque; equal means the same process."""
    restarts: int = 0
    last_exit: str | None = None
    http_port: int | None = None
    system_port: int | None = None


class GraphState(msgspec.Struct, frozen=True):
    """A supervised graph."""

    graph: str
    supervisor_pid: int
    supervisor_started: str | None
    url: str | None
    processes: tuple[ProcessState, ...]
    is_ready: bool = False
    model: str | None = None
    """A model that the frontend serves, once it does."""
    failure: str | None = None
    """Why the supervisor gave up."""


def state_root(env: Mapping[str, str]) -> Path:
    base = env.get("XDG_STATE_HOME") or str(Path(env.get("HOME") or "~").expanduser() / ".local" / "state")
    return Path(base) / "dynamo"


@dataclass(frozen=True, slots=True)
class StateFolder:
    """One graph's folder."""

    path: Path

    @property
    def graph(self) -> str:
        return self.path.name

    @property
    def discovery(self) -> Path:
        return self.path / "discovery"

    @property
    def logs(self) -> Path:
        return self.path / "logs"

    @property
    def plan(self) -> Path:
        return self.path / "plan.json"

    def log(self, process: str) -> Path:
        return self.logs / f"{process}.log"

    def create(self) -> None:
        for folder in (self.path, self.logs):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            folder.chmod(0o700)

    def begin(self) -> None:
        """Forgets the state and cards of an earlier run and moves its logs aside as `.log.1`. Needs the lock."""
        shutil.rmtree(self.discovery, ignore_errors=True)
        self.discovery.mkdir(mode=0o700)
        self.clear()
        for log in self.logs.glob("*.log"):
            log.replace(log.with_suffix(".log.1"))

    def read(self) -> GraphState | None:
        try:
            return msgspec.json.decode((self.path / "state.json").read_bytes(), type=GraphState)
        except (OSError, msgspec.DecodeError):
            return None

    def write(self, state: GraphState) -> None:
        write_private(self.path / "state.json", msgspec.json.encode(state))

    def clear(self) -> None:
        (self.path / "state.json").unlink(missing_ok=True)

    def is_up(self) -> bool:
        """Whether somebody supervises this graph now. Asks with a shared lock, so that askers do not see each other."""
        try:
            with self._flock(fcntl.LOCK_SH):
                return False
        except BlockingIOError:
            return True
        except FileNotFoundError:
            return False

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Raises AlreadyUp if another process holds the graph."""
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(self._flock(fcntl.LOCK_EX))
            except BlockingIOError:
                raise AlreadyUp(self.graph) from None
            yield

    @contextlib.contextmanager
    def _flock(self, kind: int) -> Iterator[None]:
        descriptor = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
            yield
        finally:
            os.close(descriptor)


class AlreadyUp(Refused):
    """The graph has a supervisor."""

    def __init__(self, graph: str) -> None:
        super().__init__(f"graph {graph!r} is already up on this machine", f"stop it first: dynamo down {graph}")


def folders(root: Path) -> tuple[StateFolder, ...]:
    """Every graph that ever ran here, by name."""
    if not root.is_dir():
        return ()
    return tuple(StateFolder(path) for path in sorted(root.iterdir()) if (path / "logs").is_dir())


def write_private(path: Path, content: bytes) -> None:
    """Replaces a file in one step; only the owner may read it."""
    fresh = path.with_suffix(".new")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
    fresh.replace(path)


def started(pid: int) -> str | None:
    """When the process began, as the system tells it; None if there is no such process."""
    try:
        # The second field, the command's name in parentheses, may hold spaces and parentheses itself.
        stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None if Path("/proc/self/stat").exists() else _started_by_ps(pid)
    return None if stat[0] == "Z" else stat[19]


def _started_by_ps(pid: int) -> str | None:
    answer = subprocess.run(["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return answer.stdout.strip() or None
