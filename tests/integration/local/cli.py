"""The installed `dynamo` program and small graphs to run with it."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from dynamo_operator.local.state import GraphState, StateFolder

DYNAMO = Path(sys.executable).with_name("dynamo")
DEADLINE_S = 20.0

COMPONENT = """
import http.server, os, sys
port = int(os.environ.get("DYN_HTTP_PORT") or os.environ["DYN_SYSTEM_PORT"])
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/die":
            os._exit(3)
        self.send_response(200)
        self.end_headers()
        self.wfile.write(os.environ["POD_NAME"].encode())
    def log_message(self, *words):
        print("asked for", self.path, flush=True)
print("hello from", os.environ["POD_NAME"], flush=True)
http.server.HTTPServer(("127.0.0.1", port), Handler).serve_forever()
"""
"""A component that needs nothing of the product: answers every GET, and ends on /die."""


@dataclass(frozen=True)
class Laptop:
    """One user's machine: a home for state, and a folder for manifests."""

    folder: Path

    @property
    def env(self) -> dict[str, str]:
        return {**os.environ, "XDG_STATE_HOME": str(self.folder / "state"), "COLUMNS": "200"}

    def manifest(self, name: str = "toy", *, workers: int = 1, worker: Sequence[str] | None = None) -> Path:
        script = self.folder / "component.py"
        script.write_text(COMPONENT)
        own = ["python3", str(script)]
        graph = {
            "apiVersion": "nvidia.com/v1beta1",
            "kind": "DynamoGraphDeployment",
            "metadata": {"name": name},
            "spec": {
                "components": [
                    a_component("Frontend", "frontend", 1, own),
                    a_component("worker", "worker", workers, worker or own),
                ]
            },
        }
        path = self.folder / f"{name}.yaml"
        path.write_text(json.dumps(graph))
        return path

    def run(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [DYNAMO, *arguments], env=self.env, capture_output=True, text=True, timeout=DEADLINE_S, check=False
        )

    def start(self, *arguments: str | Path) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [DYNAMO, *arguments],
            env=self.env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )

    def state(self, graph: str = "toy") -> GraphState:
        """What the supervisor last wrote."""
        state = StateFolder(self.folder / "state" / "dynamo" / graph).read()
        assert state is not None, f"{graph} has no state"
        return state

    def processes(self) -> dict[int, str]:
        """Command lines of everything alive that was started from here, told by the environment it inherited."""
        mark = f"XDG_STATE_HOME={self.folder / 'state'}".encode()
        found = {}
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                if mark in (folder / "environ").read_bytes().split(b"\0"):
                    found[int(folder.name)] = (folder / "cmdline").read_text().replace("\0", " ")
            except OSError:
                continue
        return found

    def clean_up(self) -> None:
        for pid in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


class Terminal:
    """`dynamo` on a terminal of its own, as a person sees it; `seen` is everything it printed so far."""

    def __init__(self, laptop: Laptop, arguments: Sequence[str]) -> None:
        self.seen = ""
        self._unread = ""
        screen, self._keyboard = os.openpty()
        self._process = subprocess.Popen(
            [sys.executable, "-c", TAKE_TERMINAL, str(DYNAMO), *arguments],
            env={**laptop.env, "TERM": "xterm"},
            stdin=self._keyboard,
            stdout=self._keyboard,
            stderr=self._keyboard,
            start_new_session=True,
        )
        os.close(self._keyboard)
        self._screen = screen

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._screen)

    def read_until(self, words: str) -> None:
        """Reads on from where the last call stopped."""
        while words not in self._unread:
            assert self._read(), f"{words!r} was never printed:\n{self.seen}"
        self._unread = self._unread.partition(words)[2]

    def press_ctrl_c(self) -> None:
        os.write(self._screen, b"\x03")

    def wait(self) -> int:
        while self._read():
            pass
        return self._process.wait(DEADLINE_S)

    def _read(self) -> bool:
        """False once the program has closed the terminal."""
        assert select.select([self._screen], [], [], DEADLINE_S)[0], f"silence:\n{self.seen}"
        try:
            text = os.read(self._screen, 65_536).decode(errors="replace")
        except OSError:
            return False
        self.seen += text
        self._unread += text
        return bool(text)


TAKE_TERMINAL = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""
"""Makes standard input the controlling terminal, so that Ctrl-C typed there becomes a signal."""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def a_component(name: str, role: str, replicas: int, command: Sequence[str]) -> dict[str, Any]:
    main = {"name": "main", "image": "toy:1.5.0", "command": list(command)}
    pod_template = {"spec": {"containers": [main]}}
    return {"name": name, "type": role, "replicas": replicas, "podTemplate": pod_template}


def read_until(process: subprocess.Popen[str], words: str) -> str:
    """Everything the process printed up to the line that holds `words`."""
    assert process.stdout is not None
    seen = []
    for line in process.stdout:
        seen.append(line)
        if words in line:
            return "".join(seen)
    raise AssertionError(f"{words!r} was never printed:\n{''.join(seen)}")


def wait_until(claim: Callable[[], bool], what: str, deadline_s: float = DEADLINE_S) -> None:
    until_s = time.monotonic() + deadline_s
    while not claim():
        assert time.monotonic() < until_s, f"not within {deadline_s:g} s: {what}"
        time.sleep(0.02)
