"""A worker that stands still (SIGSTOP) is noticed, costs only its own streams, and returns once it lives again."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tests.integration.first_light.conftest import MODEL
from tests.stack import Stack, running_stack, wait_until

WORKER = ["--model-name", MODEL, "--block-size", "16"]
STREAMS = 8
INTERVAL_S = 3.0
"""The default of DYN_HTTP_BACKEND_HEALTH_INTERVAL_SECS."""
BUSY_MACHINE_S = 3.0
EXPLAIN = {"x-dynamo-explain": "true"}


@dataclass
class Outcome:
    worker: str
    is_whole: bool
    ended_s: float


@pytest.mark.slow
def test_frozen_worker_is_noticed_and_returns(tmp_path: Path) -> None:
    with running_stack(tmp_path, [WORKER, WORKER]) as stack:
        victim, survivor = stack.workers
        outcomes, durations_s, frozen_s = asyncio.run(_freeze_during_streams(stack))
        listed = [instance["name"] for instance in httpx.get(f"{stack.url}/health").json()["instances"]]
        victim.popen.send_signal(signal.SIGCONT)
        wait_until(lambda: stack.ready_workers(MODEL) == 2, "the thawed worker is back", deadline_s=10)

    cut = [outcome for outcome in outcomes if outcome.worker == victim.name]
    assert cut
    assert not any(outcome.is_whole for outcome in cut)
    assert all(outcome.is_whole for outcome in outcomes if outcome.worker == survivor.name)
    assert max(outcome.ended_s - frozen_s for outcome in cut) <= 2 * INTERVAL_S + BUSY_MACHINE_S
    assert max(durations_s) <= 2 * INTERVAL_S + BUSY_MACHINE_S, "requests sent to it meanwhile went elsewhere"
    assert listed == [survivor.name]


async def _freeze_during_streams(stack: Stack) -> tuple[list[Outcome], list[float], float]:
    """What became of the streams, how long requests sent right after the freeze took, and when that was."""
    async with httpx.AsyncClient(base_url=stack.url, timeout=30) as client, asyncio.TaskGroup() as group:
        started = [asyncio.Event() for _ in range(STREAMS)]
        streams = [group.create_task(_stream(client, number, started[number])) for number in range(STREAMS)]
        for event in started:
            await event.wait()
        frozen_s = time.monotonic()
        stack.workers[0].popen.send_signal(signal.SIGSTOP)
        durations_s = await asyncio.gather(*(_unary(client) for _ in range(8)))
        return [await stream for stream in streams], list(durations_s), frozen_s


async def _stream(client: httpx.AsyncClient, number: int, started: asyncio.Event) -> Outcome:
    body = {"model": MODEL, "prompt": f"stream {number}", "max_tokens": 300, "ignore_eos": True, "stream": True}
    error, is_done = None, False
    async with client.stream("POST", "/v1/completions", json=body, headers=EXPLAIN) as answer:
        worker = answer.headers["x-dynamo-worker-name"]
        async for line in answer.aiter_lines():
            if line == "data: [DONE]":
                is_done = True
            elif line.startswith("data: "):
                error = json.loads(line.removeprefix("data: ")).get("error", error)
                started.set()
    assert is_done, "a stream ended without [DONE]"
    return Outcome(worker, error is None, time.monotonic())


async def _unary(client: httpx.AsyncClient) -> float:
    began_s = time.monotonic()
    answer = await client.post("/v1/completions", json={"model": MODEL, "prompt": "next", "max_tokens": 2})
    assert answer.status_code == 200, answer.text
    return time.monotonic() - began_s
