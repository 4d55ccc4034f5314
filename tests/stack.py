"""A frontend and its workers as real processes on this machine, for integration tests and benchmarks.

Each process runs as a user would start it (`python -m dynamo.…`), joined by file discovery in a folder of its own, with
its output in a log file beside. Leaving the context stops everything, whatever happened inside.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import httpx

START_DEADLINE_S = 30.0
STOP_DEADLINE_S = 10.0
_POLL_S = 0.05


@dataclass(slots=True)
class Process:
    """One child process and where its output goes."""

    name: str
    popen: subprocess.Popen[bytes]
    log: Path
    system_port: int | None = None

    def kill(self) -> None:
        self.popen.send_signal(signal.SIGKILL)
        self.popen.wait()

    def stop(self) -> int:
        """Ends the process as an orchestrator would and returns its exit code."""
        if self.popen.poll() is None:
            self.popen.terminate()
            try:
                self.popen.wait(STOP_DEADLINE_S)
            except subprocess.TimeoutExpired:
                self.kill()
        return self.popen.returncode


@dataclass(slots=True)
class Stack:
    """What runs: the frontend's base URL, and the processes behind it."""

    url: str
    frontend: Process
    workers: list[Process]
    folder: Path
    env: Mapping[str, str] = field(default_factory=dict)

    def ready_workers(self, model: str) -> int:
        """Workers that the frontend would send a request for `model` to."""
        answer = httpx.get(f"{self.url}/v1/models/{model}/ready", timeout=5)
        if answer.status_code == 404:
            return 0
        namespaces = answer.json()["namespaces"].values()
        return sum(kind["workers"] for space in namespaces for kind in space["worker_types"].values())

    def add_worker(self, arguments: Sequence[str], env: Mapping[str, str] | None = None) -> Process:
        """Another one, with `env` on top of the stack's."""
        worker = _start_worker(self.folder, {**self.env, **(env or {})}, f"w{len(self.workers)}", arguments)
        self.workers.append(worker)
        return worker

    def add_frontend(self, name: str, port: int, env: Mapping[str, str] | None = None) -> Process:
        """Another one beside the first; whoever adds it stops it."""
        arguments = ["-m", "dynamo.frontend", "--http-port", str(port)]
        return _start(self.folder, self.env if env is None else env, name, arguments)


@contextlib.contextmanager
def running_stack(
    folder: Path, workers: Sequence[Sequence[str]], frontend: Sequence[str] = (), env: Mapping[str, str] | None = None
) -> Iterator[Stack]:
    """Runs one mocker per entry of `workers` (its arguments) and a frontend; yields once every worker is served."""
    folder.mkdir(parents=True, exist_ok=True)
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("DYN_")},
        "DYN_DISCOVERY_BACKEND": "file",
        "DYN_FILE_KV": str(folder / "discovery"),
        "DYN_NAMESPACE": "test",
        "DYN_TCP_RPC_HOST": "127.0.0.1",
        "DYN_HTTP_HOST": "127.0.0.1",
        "DYN_SYSTEM_HOST": "127.0.0.1",
        "DYN_GRACEFUL_SHUTDOWN_GRACE_PERIOD_SECS": "0",
        **(env or {}),
    }
    port = free_port()
    started: list[Process] = []
    try:
        started = [_start_worker(folder, environment, f"w{i}", arguments) for i, arguments in enumerate(workers)]
        front = _start(folder, environment, "frontend", ["-m", "dynamo.frontend", "--http-port", str(port), *frontend])
        stack = Stack(f"http://127.0.0.1:{port}", front, started, folder, environment)
        started = [*started, front]
        wait_until(lambda: _serves(stack, len(workers)), "every worker is served", processes=started)
        yield stack
        started = [*stack.workers, front]
    finally:
        for process in started:
            if process.popen.poll() is None:
                process.popen.terminate()
        for process in started:
            process.stop()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until(
    claim: Callable[[], bool], what: str, *, deadline_s: float = START_DEADLINE_S, processes: Sequence[Process] = ()
) -> float:
    """Returns after how many seconds `claim` held; fails with the processes' last lines when it never did."""
    began_s = time.monotonic()
    while True:
        with contextlib.suppress(httpx.TransportError):
            if claim():
                return time.monotonic() - began_s
        ended = [process.name for process in processes if process.popen.poll() is not None]
        if ended or time.monotonic() - began_s > deadline_s:
            logs = "\n".join(f"--- {p.name}\n{p.log.read_text()[-2000:]}" for p in processes)
            why = f"{', '.join(ended)} ended" if ended else f"not within {deadline_s:g} s"
            raise AssertionError(f"{what}: {why}\n{logs}")
        time.sleep(_POLL_S)


def _serves(stack: Stack, workers: int) -> bool:
    models = httpx.get(f"{stack.url}/v1/models", timeout=5).json()["data"]
    cards = httpx.get(f"{stack.url}/health", timeout=5).json().get("instances", ())
    return len(cards) >= workers and (bool(models) or workers == 0)


def _start_worker(folder: Path, env: Mapping[str, str], name: str, arguments: Sequence[str]) -> Process:
    return _start(folder, {**env, "POD_NAME": name}, name, ["-m", "dynamo.mocker", *arguments])


def _start(folder: Path, env: Mapping[str, str], name: str, arguments: Sequence[str]) -> Process:
    log = folder / f"{name}.log"
    with log.open("wb") as output:
        popen = subprocess.Popen([sys.executable, *arguments], env=dict(env), stdout=output, stderr=output)
    return Process(name, popen, log)
