"""The workers in memory and a real worker's system server keep the same contract."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import httpx2
import pytest

from dynamo_operator.reconcile.models_workers import HttpWorkers, WorkerFailed, Workers
from tests.contract.workers import URI, WorkersContract
from tests.fakes.workers import FakeWorker, FakeWorkers
from tests.stack import Process, free_port, wait_until


class TestFakeWorkers(WorkersContract):
    @pytest.fixture
    def workers(self) -> FakeWorkers:
        return FakeWorkers(w=FakeWorker())

    @pytest.fixture
    def address(self) -> str:
        return "http://w:9090"


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The base URL of a mocker's system server."""
    yield from _running(tmp_path_factory.mktemp("worker"), DYN_LORA_ENABLED="true")


@pytest.fixture(scope="module")
def plain_worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """One that was not told to take adapters."""
    yield from _running(tmp_path_factory.mktemp("plain"))


@pytest.fixture
async def http_workers() -> AsyncIterator[HttpWorkers]:
    async with httpx2.AsyncClient(trust_env=False) as http:
        yield HttpWorkers(http)


class TestRealWorker(WorkersContract):
    @pytest.fixture
    def workers(self, http_workers: HttpWorkers) -> HttpWorkers:
        return http_workers

    @pytest.fixture
    async def address(self, worker: str, workers: Workers) -> str:
        for name in await workers.loras(worker):
            await workers.unload(worker, name)
        return worker


async def test_a_worker_without_adapters_says_what_it_needs(plain_worker: str, http_workers: HttpWorkers) -> None:
    with pytest.raises(WorkerFailed, match="DYN_LORA_ENABLED=true"):
        await http_workers.loras(plain_worker)


async def test_the_base_models_own_name_is_refused_with_the_workers_reason(
    worker: str, http_workers: HttpWorkers
) -> None:
    with pytest.raises(WorkerFailed, match=r"answers POST with 409: .*name of the base model"):
        await http_workers.load(worker, "tiny", URI)


def _running(folder: Path, **env: str) -> Iterator[str]:
    port = free_port()
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("DYN_")},
        "DYN_DISCOVERY_BACKEND": "file",
        "DYN_FILE_KV": str(folder),
        "DYN_TCP_RPC_HOST": "127.0.0.1",
        "DYN_SYSTEM_HOST": "127.0.0.1",
        "DYN_SYSTEM_PORT": str(port),
        "DYN_GRACEFUL_SHUTDOWN_GRACE_PERIOD_SECS": "0",
        **env,
    }
    log = folder / "worker.log"
    with log.open("wb") as output:
        command = [sys.executable, "-m", "dynamo.mocker", "--model-name", "tiny"]
        popen = subprocess.Popen(command, env=environment, stdout=output, stderr=output)
    process = Process("worker", popen, log, port)
    url = f"http://127.0.0.1:{port}"
    try:
        wait_until(lambda: httpx.get(f"{url}/health", timeout=5).status_code == 200, "ready", processes=[process])
        yield url
    finally:
        process.stop()
