"""Starts what is compared: mock workers, our frontend with their cards, and `vllm-router` in a venv of its own."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import httpx

from dynamo.discovery import open_registry
from dynamo.wire.cards import WorkerCard
from tests.stack import free_port

CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "dynamo" / "benchmarks" / "vllm-router"
REQUIREMENT = "vllm-router>=0.1.17"
START_S = 60.0


@contextlib.contextmanager
def process(arguments: Sequence[str], env: dict[str, str] | None = None, log: Path | None = None) -> Iterator[int]:
    """Runs a child for the time of the context; yields its process id."""
    with (log or Path(os.devnull)).open("wb") as output:
        child = subprocess.Popen(arguments, env=env or dict(os.environ), stdout=output, stderr=output)
        try:
            yield child.pid
        finally:
            child.send_signal(signal.SIGTERM)
            try:
                child.wait(10)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()


@contextlib.contextmanager
def mock_workers(count: int) -> Iterator[list[int]]:
    """Ports of running mock workers."""
    ports = [free_port() for _ in range(count)]
    with contextlib.ExitStack() as stack:
        for port in ports:
            stack.enter_context(process([sys.executable, "-m", "benchmarks.frontend.mock_worker", str(port)]))
        for port in ports:
            wait_for(port, "/health")
        yield ports


@contextlib.contextmanager
def our_frontend(folder: Path, workers: Sequence[int], flags: Sequence[str] = ()) -> Iterator[tuple[int, int]]:
    """(port, process id) of a frontend that knows the workers from cards."""
    env = {**os.environ, "DYN_DISCOVERY_BACKEND": "file", "DYN_FILE_KV": str(folder / "discovery")}
    port = free_port()
    command = [sys.executable, "-m", "dynamo.frontend", "--http-host", "127.0.0.1", "--http-port", str(port), *flags]
    publisher = [sys.executable, "-m", "benchmarks.frontend.contestants", *map(str, workers)]
    with process(publisher, env), process(command, env, folder / "frontend.log") as pid:
        wait_for(port, "/v1/models", b'"m"')
        yield port, pid


@contextlib.contextmanager
def vllm_router(folder: Path, workers: Sequence[int], policy: str = "round_robin") -> Iterator[tuple[int, int]]:
    """(port, process id) of vllm-router over the same workers."""
    program = _installed_vllm_router()
    port = free_port()
    urls = [f"http://127.0.0.1:{worker}" for worker in workers]
    command = [str(program), "--worker-urls", *urls, "--policy", policy, "--host", "127.0.0.1"]
    command += ["--port", str(port), "--prometheus-port", str(free_port()), "--log-level", "warning"]
    with process(command, log=folder / "vllm-router.log") as pid:
        try:
            wait_for(port, "/health")
        except TimeoutError as error:
            raise RuntimeError(
                f"vllm-router did not start:\n{(folder / 'vllm-router.log').read_text()[-2000:]}"
            ) from error
        yield port, pid


def cpu_s(pid: int) -> float:
    """CPU seconds that all threads of the process have used so far, from the scheduler's own accounting."""
    tasks = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(task.read_text().split()[0]) for task in tasks) / 1e9


def wait_for(port: int, path: str, content: bytes = b"") -> None:
    deadline_s = time.monotonic() + START_S
    while time.monotonic() < deadline_s:
        with contextlib.suppress(httpx.TransportError):
            answer = httpx.get(f"http://127.0.0.1:{port}{path}", timeout=5)
            if answer.status_code == 200 and content in answer.content:
                return
        time.sleep(0.1)
    raise TimeoutError(f"port {port}: {path} did not answer within {START_S:g} s")


def _installed_vllm_router() -> Path:
    program = CACHE / "bin" / "vllm-router"
    if not program.exists():
        print(f"installing {REQUIREMENT} into {CACHE} ...", flush=True)
        subprocess.run([sys.executable, "-m", "venv", str(CACHE)], check=True)
        subprocess.run([str(CACHE / "bin" / "pip"), "install", "--quiet", REQUIREMENT], check=True)
    return program


async def _publish(ports: Sequence[int]) -> None:
    """Announces the mock workers and keeps their cards alive."""
    registry = open_registry("file", os.environ)
    cards = [
        WorkerCard(
            worker_id=index + 1,
            name=f"w{index}",
            namespace="bench",
            component="backend",
            engine="mock",
            model="m",
            address=f"http://127.0.0.1:{port}",
            system_address=f"http://127.0.0.1:{port}",
            block_size=16,
        )
        for index, port in enumerate(ports)
    ]
    while True:
        for card in cards:
            await registry.publish(card)
        await asyncio.sleep(2)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    asyncio.run(_publish([int(port) for port in sys.argv[1:]]))
