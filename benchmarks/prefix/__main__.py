"""`python -m benchmarks.prefix [--modes kv,round-robin] [--seeds 3]`: real frontends and mockers over HTTP."""

from __future__ import annotations

import argparse
import asyncio
import collections
import tempfile
import time
from pathlib import Path

import httpx
from rich.console import Console
from rich.table import Table

from benchmarks.prefix.workload import Answer, Shape, hit_ratio, prompts
from tests.stack import running_stack

MODEL = "prefix"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--modes", default="kv,round-robin", help="router modes, comma-separated")
    parser.add_argument("--seeds", type=int, default=1, help="runs per mode, each with prompts of its own")
    parser.add_argument("--speedup-ratio", type=float, default=10.0, help="how much faster than real time mockers run")
    arguments = parser.parse_args()
    shape = Shape()
    table = Table(title=f"{shape.requests} requests, {shape.groups} groups, {shape.workers} workers")
    for column in ("mode", "seed", "prefix hit ratio", "requests per worker", "duration_s"):
        table.add_column(column)
    console = Console()
    for mode in arguments.modes.split(","):
        for seed in range(arguments.seeds):
            console.print(f"running mode {mode}, seed {seed} ...")
            began_s = time.monotonic()
            answers = run(mode, shape, seed, arguments.speedup_ratio)
            served = collections.Counter(answer.worker for answer in answers)
            spread = " ".join(str(count) for _, count in sorted(served.items()))
            table.add_row(mode, str(seed), f"{hit_ratio(answers):.4f}", spread, f"{time.monotonic() - began_s:.1f}")
    console.print(table)


def run(mode: str, shape: Shape, seed: int, speedup_ratio: float) -> list[Answer]:
    """Starts a fleet of its own, sends the workload, stops the fleet."""
    worker = ["--model-name", MODEL, "--speedup-ratio", str(speedup_ratio), "--block-size", str(shape.block_size)]
    worker += ["--num-gpu-blocks-override", str(shape.blocks_per_worker)]
    with (
        tempfile.TemporaryDirectory() as folder,
        running_stack(Path(folder), [worker] * shape.workers, ["--router-mode", mode]) as stack,
    ):
        return asyncio.run(_send(stack.url, prompts(shape, seed), shape))


async def _send(url: str, tokens: list[list[int]], shape: Shape) -> list[Answer]:
    waiting = collections.deque(tokens)
    answers: list[Answer] = []

    async def client(http: httpx.AsyncClient) -> None:
        while waiting:
            body = {"model": MODEL, "prompt": waiting.popleft(), "max_tokens": shape.output_tokens}
            response = await http.post(
                "/v1/completions", json={**body, "ignore_eos": True}, headers={"x-dynamo-explain": "true"}
            )
            response.raise_for_status()
            usage = response.json()["usage"]
            cached = usage["prompt_tokens_details"]["cached_tokens"]
            answers.append(Answer(response.headers["x-dynamo-worker-name"], usage["prompt_tokens"], cached))

    async with httpx.AsyncClient(base_url=url, timeout=120) as http, asyncio.TaskGroup() as clients:
        for _ in range(shape.concurrency):
            clients.create_task(client(http))
    return answers


if __name__ == "__main__":
    main()
