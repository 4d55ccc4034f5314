"""The examples as a newcomer runs them: the real frontend, router and mocker behind `dynamo up`."""

from __future__ import annotations

import json
import re
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.local.cli import Laptop, Terminal, free_port

pytestmark = pytest.mark.xdist_group("local")
EXAMPLES = Path(__file__).parents[3] / "examples"
FIRST_TOKEN_DEADLINE_S = 15.0


@pytest.fixture
def laptop(tmp_path: Path) -> Iterator[Laptop]:
    machine = Laptop(tmp_path)
    yield machine
    machine.clean_up()


def test_the_demonstration_streams_answers_and_shows_the_cache_at_work(laptop: Laptop) -> None:
    began_s = time.monotonic()

    demo = laptop.run("up", "-f", EXAMPLES / "agg-router.yaml", "--demo", "--port", str(free_port()))

    assert demo.returncode == 0, demo.stderr
    assert time.monotonic() - began_s < FIRST_TOKEN_DEADLINE_S
    served = re.findall(r"served by (worker-\d) · (\d+) of (\d+) blocks were cached", demo.stdout)
    workers, cached, _ = zip(*served, strict=True)
    assert len(served) == 4
    assert len(set(workers)) == 1, "the shared prefix keeps the chats together"
    assert int(cached[0]) == 0
    assert all(int(blocks) >= 30 for blocks in cached[1:])
    assert "nothing is left running" in demo.stdout
    assert laptop.processes() == {}


def test_on_a_terminal_the_table_stays_until_ctrl_c(laptop: Laptop) -> None:
    arguments = ["up", "-f", str(EXAMPLES / "agg-router.yaml"), "--prompt", "Hello?", "--port", str(free_port())]
    with Terminal(laptop, arguments) as terminal:
        terminal.read_until("Press Ctrl-C to stop")
        terminal.read_until("worker-1")

        terminal.press_ctrl_c()

        assert terminal.wait() == 0
        assert "nothing is left running" in terminal.seen
    assert re.search(r"you +Hello\?", terminal.seen)
    assert re.search(r"worker-\d +worker +\S*ready", terminal.seen)
    assert laptop.processes() == {}


@pytest.mark.parametrize("example", ["agg", "disagg"])
def test_an_example_answers_a_chat(laptop: Laptop, example: str) -> None:
    port = free_port()
    up = laptop.run("up", "-f", EXAMPLES / f"{example}.yaml", "--detach", "--port", str(port))
    assert up.returncode == 0, up.stderr
    body = {"model": "mock-model", "max_tokens": 4, "messages": [{"role": "user", "content": "Hello!"}]}
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/v1/chat/completions",
        data=json.dumps(body).encode(),
        headers={"content-type": "application/json"},
    )

    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=20) as answer:
        completion = json.load(answer)

    assert completion["usage"]["completion_tokens"] == 4
    assert laptop.run("down").returncode == 0
    assert laptop.processes() == {}
