"""A worker killed during streams takes only its own streams with it."""

from __future__ import annotations

import asyncio
import json
import signal
from pathlib import Path

import httpx
import pytest

from tests.integration.first_light.conftest import MODEL
from tests.stack import Process, Stack, running_stack, wait_until

WORKER = ["--model-name", MODEL, "--block-size", "16"]
STREAMS = 12
EXPLAIN = {"x-dynamo-explain": "true"}
TOKENS = 150


@pytest.mark.parametrize("mode", ["round-robin", "kv"])
def test_killed_worker_hurts_only_its_own_streams(tmp_path: Path, mode: str) -> None:
    with running_stack(tmp_path, [WORKER, WORKER], ["--router-mode", mode]) as stack:
        victim, survivor = stack.workers
        outcomes, statuses = asyncio.run(_kill_during_streams(stack, victim))
        gone_after_s = wait_until(lambda: stack.ready_workers(MODEL) == 1, "the dead worker is gone", deadline_s=5)
        fleet = httpx.get(f"{stack.url}/debug/fleet").json()

    assert statuses == [200] * 8
    assert gone_after_s <= 2.0
    assert set(outcomes) == {(victim.name, "cut"), (survivor.name, "complete")}
    assert [worker["name"] for worker in fleet["workers"]] == [survivor.name]
    routed = [worker["name"] for each in fleet["routers"] for worker in each["router"]["workers"]]
    assert routed == [survivor.name]


def test_restarted_worker_is_used_again(tmp_path: Path) -> None:
    with running_stack(tmp_path, [WORKER]) as stack:
        stack.workers[0].kill()
        wait_until(lambda: stack.ready_workers(MODEL) == 0, "the dead worker is gone", deadline_s=5)
        refused = httpx.post(f"{stack.url}/v1/completions", json={"model": MODEL, "prompt": "x"}, timeout=30)

        stack.add_worker(WORKER)
        wait_until(lambda: stack.ready_workers(MODEL) == 1, "the new worker is there")
        answered = httpx.post(
            f"{stack.url}/v1/completions", json={"model": MODEL, "prompt": "x", "max_tokens": 1}, timeout=30
        )

    assert refused.status_code in {404, 503}
    assert refused.json()["error"]["message"]
    assert answered.status_code == 200


async def _kill_during_streams(stack: Stack, victim: Process) -> tuple[list[tuple[str, str]], list[int]]:
    """(worker, outcome) of the streams that ran when `victim` was killed, and statuses of requests sent right after."""
    async with httpx.AsyncClient(base_url=stack.url, timeout=30) as client, asyncio.TaskGroup() as group:
        started = [asyncio.Event() for _ in range(STREAMS)]
        streams = [group.create_task(_stream(client, number, started[number])) for number in range(STREAMS)]
        for event in started:
            await event.wait()
        victim.popen.send_signal(signal.SIGKILL)
        statuses = await asyncio.gather(*(_unary(client) for _ in range(8)))
        return [await stream for stream in streams], list(statuses)


async def _stream(client: httpx.AsyncClient, number: int, started: asyncio.Event) -> tuple[str, str]:
    """Who served it, and `complete` when all tokens came, `cut` when an error frame and then [DONE] came instead."""
    body = {"model": MODEL, "prompt": f"stream {number}", "max_tokens": TOKENS, "ignore_eos": True, "stream": True}
    tokens, error, is_done = 0, None, False
    async with client.stream("POST", "/v1/completions", json=body, headers=EXPLAIN) as answer:
        assert answer.status_code == 200
        worker = answer.headers["x-dynamo-worker-name"]
        async for line in answer.aiter_lines():
            if line == "data: [DONE]":
                is_done = True
            elif line.startswith("data: "):
                chunk = json.loads(line.removeprefix("data: "))
                error = chunk.get("error", error)
                tokens += bool(chunk.get("choices"))
                started.set()
    assert is_done, "a stream ended without [DONE]"
    if error is not None:
        assert tokens < TOKENS
        assert error["message"]
        return worker, "cut"
    assert tokens >= TOKENS
    return worker, "complete"


async def _unary(client: httpx.AsyncClient) -> int:
    answer = await client.post("/v1/completions", json={"model": MODEL, "prompt": "next", "max_tokens": 2})
    return answer.status_code


def test_hang_up_of_a_client_reaches_the_engine(tmp_path: Path) -> None:
    with running_stack(tmp_path, [WORKER]) as stack:
        body = {"model": MODEL, "prompt": "x", "max_tokens": 100_000, "ignore_eos": True, "stream": True}
        with httpx.stream("POST", f"{stack.url}/v1/completions", json=body, timeout=30) as answer:
            lines = answer.iter_lines()  # kept: the client hangs up when nobody reads it any more
            next(lines)
            wait_until(lambda: _running(stack) == 1, "the engine works on it", deadline_s=5)

        idle_after_s = wait_until(lambda: _running(stack) == 0, "the engine stops generating", deadline_s=5)

    assert idle_after_s <= 2.0


def _running(stack: Stack) -> int:
    """Requests that the only worker's engine is working on, by its own metrics."""
    fleet = httpx.get(f"{stack.url}/debug/fleet").json()
    text = httpx.get(f"{fleet['workers'][0]['system_address']}/metrics").text
    lines = [line for line in text.splitlines() if line.startswith("vllm:num_requests_running")]
    return round(sum(float(line.rpartition(" ")[2]) for line in lines))
