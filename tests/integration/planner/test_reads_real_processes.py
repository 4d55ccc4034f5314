"""The planner beside a real frontend and real mockers: what it reads there, what it says, how it ends."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tests.stack import Stack, free_port, running_stack, wait_until

WORKER = ["--model-path", "m", "--speedup-ratio", "1", "--max-num-seqs", "4"]
CONFIG = {
    "mode": "agg",
    "environment": "virtual",
    "optimization_target": "sla",
    "ttft_ms": 300,
    "itl_ms": 30,
    "load_adjustment_interval_seconds": 0.5,
    "throughput_adjustment_interval_seconds": 3,
}


@dataclass(frozen=True, slots=True)
class Running:
    popen: subprocess.Popen[bytes]
    port: int
    log: Path

    def number(self, name: str) -> float:
        page = httpx.get(f"http://127.0.0.1:{self.port}/metrics", timeout=5).text
        found = re.search(rf"^dynamo_planner_{name} (\S+)$", page, re.MULTILINE)
        return float(found.group(1)) if found else float("nan")

    def status(self, path: str) -> int:
        return httpx.get(f"http://127.0.0.1:{self.port}{path}", timeout=5).status_code

    def stop(self) -> int:
        self.popen.send_signal(signal.SIGTERM)
        return self.popen.wait(10)


@contextmanager
def running_planner(folder: Path, frontends: list[str], workers: list[str], **config: object) -> Iterator[Running]:
    port, log = free_port(), folder / "planner.log"
    env = {
        **{name: value for name, value in os.environ.items() if not name.startswith("DYN_")},
        "DYN_SYSTEM_PORT": str(port),
        "DYN_SYSTEM_HOST": "127.0.0.1",
        "DYN_PLANNER_FRONTEND_URLS": ",".join(frontends),
        "DYN_PLANNER_WORKER_URLS": ",".join(f"aggregated={url}" for url in workers),
        "DYN_LOG": "debug",
    }
    command = [sys.executable, "-m", "dynamo.planner", "--config", json.dumps({**CONFIG, **config})]
    with log.open("wb") as output:
        popen = subprocess.Popen(command, env=env, stdout=output, stderr=output)
    running = Running(popen, port, log)
    try:
        wait_until(lambda: running.status("/live") == 200, "the planner answers")
        yield running
    finally:
        if popen.poll() is None:
            popen.kill()
            popen.wait()


def system_urls(stack: Stack) -> list[str]:
    """Of the workers, as their cards say."""
    cards = (path.read_text() for path in (stack.folder / "discovery").rglob("*") if path.is_file())
    return sorted({url for card in cards for url in re.findall(r'"system_address":\s*"([^"]+)"', card)})


def ask(url: str) -> int:
    body = {"model": "m", "prompt": "word " * 300, "max_tokens": 30, "stream": True, "ignore_eos": True}
    return httpx.post(f"{url}/v1/completions", json=body, timeout=60).status_code


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with running_stack(tmp_path_factory.mktemp("planner"), [WORKER, WORKER]) as found:
        yield found


def test_numbers_of_a_real_load_reach_the_decision(stack: Stack, tmp_path: Path) -> None:
    workers = system_urls(stack)
    assert len(workers) == 2

    with running_planner(tmp_path, [stack.url], workers) as planner:
        wait_until(lambda: planner.number("holding") == 0, "two readings make a rate")
        with ThreadPoolExecutor(24) as threads:
            answers = [threads.submit(ask, stack.url) for _ in range(96)]
            wait_until(lambda: planner.number("predicted_num_decode_replicas") > 2, "queues ask for more workers")
            assert planner.number("observed_requests_per_second") >= 0
            assert {answer.result() for answer in answers} == {200}

        assert planner.number("predicted_input_sequence_tokens") == pytest.approx(300, rel=0.5)
        assert planner.number("predicted_output_sequence_tokens") == pytest.approx(30, rel=0.2)
        assert planner.number("num_decode_replicas") == 2
        wait_until(lambda: planner.number("predicted_num_decode_replicas") < 2, "the end of the load asks for fewer")
        assert planner.stop() == 0

    text = planner.log.read_text()
    assert "planner_advises" in text
    assert "planner_stopped" in text
    assert "word word" not in text


def test_dead_frontend_makes_it_hold_and_say_so(stack: Stack, tmp_path: Path) -> None:
    nobody = f"http://127.0.0.1:{free_port()}"

    with running_planner(tmp_path, [nobody], system_urls(stack)) as planner:
        wait_until(lambda: "planner_holds" in planner.log.read_text(), "it says why it holds")
        assert planner.number("holding") == 1
        assert planner.number("predicted_num_decode_replicas") == 2
        assert (planner.status("/live"), planner.status("/health")) == (200, 200)
        assert planner.stop() == 0

    assert f"{nobody}: no metrics: ConnectError" in planner.log.read_text()


def test_unknown_setting_ends_the_start_without_a_trace(tmp_path: Path) -> None:
    found = subprocess.run(
        [sys.executable, "-m", "dynamo.planner", "--config", '{"ttft_mss": 1}'],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )

    assert found.returncode == 2
    assert "ttft_mss: unknown setting; did you mean ttft_ms?" in found.stderr
    assert "Traceback" not in found.stderr
