"""The installed `dynamo` program and small graphs to run with it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
            os.kill(pid, signal.SIGKILL)


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
