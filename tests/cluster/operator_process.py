"""The operator as users run it, `python -m dynamo_operator`, as a child process on any cluster.

Must not know what a test wants of it. Called by tests of faults and crashes, and by the operator's benchmark.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.cluster.commands import plain_environment

STOP_DEADLINE_S = 30.0
_MODULE = ("-m", "dynamo_operator")


@dataclass(frozen=True)
class OperatorProcess:
    """A started operator; it may have ended since."""

    process: subprocess.Popen[bytes]
    health_port: int
    metrics_port: int
    log: Path

    @property
    def is_running(self) -> bool:
        return self.process.poll() is None

    def is_ready(self) -> bool:
        return self._page(self.health_port, "/readyz")[0] == 200

    def is_leading(self) -> bool:
        return "dynamo_operator_leading 1.0" in self.metrics()

    def metrics(self) -> str:
        return self._page(self.metrics_port, "/metrics")[1]

    def said(self) -> str:
        return self.log.read_text(errors="replace")

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def stop(self) -> int:
        """Its exit status after SIGTERM."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(STOP_DEADLINE_S)

    def kill(self) -> None:
        """Ends it as a crash does; one that has ended already is fine."""
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGKILL)
        self.process.wait(STOP_DEADLINE_S)

    def cpu_s(self) -> float:
        """CPU seconds so far, of all its threads."""
        return cpu_s(self.process.pid)

    def peak_rss_mb(self) -> float:
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        peak = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
        return int(peak.split()[1]) / 1024

    def _page(self, port: int, path: str) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError:
            return 0, ""


def start_operator(
    kubeconfig: Path,
    folder: Path,
    *,
    namespace: str,
    settings: Mapping[str, Any] | None = None,
    words: Sequence[str | Path] = _MODULE,
) -> OperatorProcess:
    """Starts one without webhook; `namespace` is its own. `words` follow the interpreter: another way to begin it."""
    health, metrics = _free_ports(2)
    name = f"operator-{time.monotonic_ns()}"
    config, log = folder / f"{name}.yaml", folder / f"{name}.log"
    server = {"metrics": {"port": metrics}, "healthProbe": {"port": health}, "webhook": {"enabled": False}}
    config.write_text(yaml.safe_dump({"server": server, "logging": {"format": "text"}, **(settings or {})}))
    command = [sys.executable, *words, "--config", config, "--kubeconfig", kubeconfig]
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stderr=output, stdout=output, env=plain_environment(POD_NAMESPACE=namespace)
        )
    return OperatorProcess(process, health, metrics, log)


@contextlib.contextmanager
def running_operator(
    kubeconfig: Path, folder: Path, *, namespace: str, settings: Mapping[str, Any] | None = None
) -> Iterator[OperatorProcess]:
    """One that ends with the block, frozen or not."""
    operator = start_operator(kubeconfig, folder, namespace=namespace, settings=settings)
    try:
        yield operator
    finally:
        operator.kill()


def cpu_s(pid: int) -> float:
    """CPU seconds that a running process has used, children that it does not wait for left out."""
    after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(after_name[11]) + int(after_name[12])) / os.sysconf("SC_CLK_TCK")


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        held = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [int(server.getsockname()[1]) for server in held]
