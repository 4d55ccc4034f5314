"""Workers and frontends that are told to end, under load: no request fails, streams finish."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from tests.integration.first_light.conftest import MODEL
from tests.stack import Process, Stack, free_port, running_stack, wait_until

WORKER = ["--model-name", MODEL, "--block-size", "16"]
CLIENTS = 8
TOKENS = 15
SERVICE_LAG_S = 1.5
REQUESTS_AFTER = 25
"""That each client makes after the signal, so that load goes on past the end of what was told to end."""


@pytest.mark.parametrize("grace_s", [pytest.param("1", id="noticed-first"), pytest.param("0", id="raced")])
def test_worker_that_drains_fails_no_request(tmp_path: Path, grace_s: str) -> None:
    with running_stack(tmp_path, [WORKER, WORKER], env={"DYN_GRACEFUL_SHUTDOWN_GRACE_PERIOD_SECS": grace_s}) as stack:
        victim = stack.workers[0]
        failures = asyncio.run(_load(lambda: [stack.url], lambda: victim.popen.send_signal(signal.SIGTERM)))
        code = victim.popen.wait(20)

    assert failures == []
    assert code == 0


def test_frontend_that_drains_fails_no_request(tmp_path: Path) -> None:
    env = {"DYN_GRACEFUL_SHUTDOWN_GRACE_PERIOD_SECS": "2"}
    with running_stack(tmp_path, [WORKER], env=env) as stack, _second_frontend(stack) as (second, url):
        service = _Service([stack.url, url])
        failures = asyncio.run(_load(service.targets, lambda: second.popen.send_signal(signal.SIGTERM)))
        code = second.popen.wait(20)

    assert failures == []
    assert code == 0


@dataclass
class _Service:
    """Sends new connections to frontends that called themselves ready a moment ago: real ones learn as late."""

    urls: Sequence[str]
    ready_s: dict[str, float] = field(default_factory=dict)

    def targets(self) -> Sequence[str]:
        now_s = time.monotonic()
        self.ready_s.update({url: now_s for url in self.urls if _is_healthy(url)})
        return [url for url in self.urls if now_s - self.ready_s.get(url, 0.0) < SERVICE_LAG_S]


async def _load(targets: Callable[[], Sequence[str]], strike: Callable[[], None]) -> list[str]:
    """Streams over kept connections; `strike` once all run. What failed."""
    failures: list[str] = []
    running, struck = asyncio.Semaphore(0), asyncio.Event()

    async def client(number: int) -> None:
        left, is_first = REQUESTS_AFTER, True
        while left:
            urls = await asyncio.to_thread(targets)
            async with httpx.AsyncClient(base_url=urls[number % len(urls)], timeout=30) as http:
                is_kept = True
                while is_kept and left:
                    left -= struck.is_set()
                    try:
                        is_kept = await _stream(http, running if is_first else None)
                    except (httpx.HTTPError, AssertionError) as error:
                        failures.append(repr(error))
                    is_first = False

    async with asyncio.TaskGroup() as group:
        for number in range(CLIENTS):
            group.create_task(client(number))
        for _ in range(CLIENTS):
            await running.acquire()
        strike()
        struck.set()
    return failures


async def _stream(http: httpx.AsyncClient, running: asyncio.Semaphore | None) -> bool:
    """Whether the connection may be used again."""
    body = {"model": MODEL, "prompt": "x", "max_tokens": TOKENS, "ignore_eos": True, "stream": True}
    frames = 0
    async with http.stream("POST", "/v1/completions", json=body) as answer:
        assert answer.status_code == 200, f"status {answer.status_code}"
        async for line in answer.aiter_lines():
            if line.startswith('data: {"error"'):
                raise AssertionError(line)
            frames += line.startswith("data: {")
            if frames == 1 and running is not None:
                running.release()
                running = None
    assert frames >= TOKENS, f"{frames} frames"
    return answer.headers.get("connection", "") != "close"


@contextlib.contextmanager
def _second_frontend(stack: Stack) -> Iterator[tuple[Process, str]]:
    port = free_port()
    process = stack.add_frontend("second", port)
    url = f"http://127.0.0.1:{port}"
    try:
        wait_until(lambda: bool(httpx.get(f"{url}/v1/models").json()["data"]), "it serves", processes=[process])
        yield process, url
    finally:
        process.stop()


def _is_healthy(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health", timeout=5).status_code == 200
    except httpx.TransportError:
        return False
