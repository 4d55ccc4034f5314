"""`python -m benchmarks.prefix [--modes kv,round-robin] [--orders random] [--chat]`: real processes over HTTP."""

from __future__ import annotations

import argparse
import asyncio
import collections
import contextlib
import itertools
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console
from rich.table import Table

from benchmarks.frontend.contestants import vllm_router
from benchmarks.prefix.workload import ORDERS, Answer, Shape, chats, completions, hit_ratio
from tests.stack import Stack, running_stack

MODEL = "prefix"
PEER = "vllm-router"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--modes",
        default="kv,round-robin",
        help=f"router modes, comma-separated; `{PEER}` is vllm-router's cache-aware policy over the same mockers "
        "(it reads text: use --chat)",
    )
    parser.add_argument("--seeds", type=int, default=1, help="runs per mode, each with prompts of its own")
    parser.add_argument("--orders", default="random", help=f"order of the groups: some of {', '.join(ORDERS)}")
    parser.add_argument("--chat", action="store_true", help="chats with a long system message, not token ids")
    parser.add_argument("--speedup-ratio", type=float, default=10.0, help="how much faster than real time mockers run")
    arguments = parser.parse_args()
    orders = arguments.orders.split(",")
    if not set(orders) <= set(ORDERS):
        parser.error(f"--orders: found {arguments.orders}; expected some of {', '.join(ORDERS)}")
    shape = Shape()
    table = Table(title=f"{shape.requests} requests, {shape.groups} groups, {shape.workers} workers")
    for column in ("mode", "order", "seed", "prefix hit ratio", "requests per worker", "duration_s"):
        table.add_column(column)
    console = Console()
    for mode, order, seed in itertools.product(arguments.modes.split(","), orders, range(arguments.seeds)):
        console.print(f"running mode {mode}, {order} order, seed {seed} ...")
        bodies = (chats if arguments.chat else completions)(shape, seed, order)
        began_s = time.monotonic()
        answers = run(mode, shape, bodies, arguments.speedup_ratio)
        served = collections.Counter(answer.worker for answer in answers)
        spread = " ".join(str(count) for _, count in sorted(served.items()))
        duration_s = f"{time.monotonic() - began_s:.1f}"
        table.add_row(mode, order, str(seed), f"{hit_ratio(answers):.4f}", spread, duration_s)
    console.print(table)


def run(mode: str, shape: Shape, bodies: Sequence[dict[str, Any]], speedup_ratio: float) -> list[Answer]:
    """Starts a fleet of its own, sends the workload, stops the fleet."""
    worker = ["--model-name", MODEL, "--speedup-ratio", str(speedup_ratio), "--block-size", str(shape.block_size)]
    worker += ["--num-gpu-blocks-override", str(shape.blocks_per_worker)]
    flags = [] if mode == PEER else ["--router-mode", mode]
    with (
        tempfile.TemporaryDirectory() as folder,
        running_stack(Path(folder), [worker] * shape.workers, flags) as stack,
        contextlib.ExitStack() as peers,
    ):
        url = stack.url
        if mode == PEER:
            port, _ = peers.enter_context(vllm_router(Path(folder), _engine_ports(stack), "cache_aware"))
            url = f"http://127.0.0.1:{port}"
        return asyncio.run(_send(url, bodies, shape))


def _engine_ports(stack: Stack) -> list[int]:
    workers = httpx.get(f"{stack.url}/debug/fleet").json()["workers"]
    return [httpx.URL(worker["address"]).port or 80 for worker in workers]


async def _send(url: str, bodies: Sequence[dict[str, Any]], shape: Shape) -> list[Answer]:
    waiting = collections.deque(bodies)
    answers: list[Answer] = []

    async def client(http: httpx.AsyncClient) -> None:
        while waiting:
            body = {**waiting.popleft(), "model": MODEL, "max_tokens": shape.output_tokens, "ignore_eos": True}
            path = "/v1/completions" if "prompt" in body else "/v1/chat/completions"
            response = await http.post(path, json=body, headers={"x-dynamo-explain": "true"})
            response.raise_for_status()
            usage = response.json()["usage"]
            cached = usage["prompt_tokens_details"]["cached_tokens"]
            worker = response.headers.get("x-dynamo-worker-name", "?")
            answers.append(Answer(worker, usage["prompt_tokens"], cached))

    async with httpx.AsyncClient(base_url=url, timeout=120) as http, asyncio.TaskGroup() as clients:
        for _ in range(shape.concurrency):
            clients.create_task(client(http))
    return answers


if __name__ == "__main__":
    main()
