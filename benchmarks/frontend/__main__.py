"""`python -m benchmarks.frontend [--rounds 3]`: prints CPU per streamed token and per short request, and the ratios."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import statistics
import sys
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import uvloop
from rich.console import Console
from rich.table import Table

from benchmarks.frontend.contestants import cpu_s, mock_workers, our_frontend, vllm_router
from benchmarks.frontend.load import Shape, stream_once, unary_once

OURS, PEER = "dynamo", "vllm-router"
TOKEN_RATIO_MOST = 1.0
UNARY_RATIO_MOST = 1.5
Run = Callable[[int, Shape], Awaitable[int]]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--router-mode", default="round-robin")
    parser.add_argument("--only-ours", action="store_true", help="leave vllm-router out")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        ports = stack.enter_context(mock_workers(arguments.workers))
        ours = stack.enter_context(our_frontend(folder, ports, ["--router-mode", arguments.router_mode]))
        contestants = {OURS: ours}
        if not arguments.only_ours:
            contestants[PEER] = stack.enter_context(vllm_router(folder, ports))
        costs = uvloop.run(_measure(contestants, arguments.rounds, Shape()))
    return _report(costs)


async def _measure(
    contestants: dict[str, tuple[int, int]], rounds: int, shape: Shape
) -> dict[str, dict[str, list[float]]]:
    """Microseconds of CPU per token and per request, by contestant, one value per round."""
    costs: dict[str, dict[str, list[float]]] = {name: {"token": [], "request": []} for name in contestants}
    warm_up = Shape(streams=8, tokens=20, gap_ms=1, unary_requests=200)
    for port, _ in contestants.values():
        await stream_once(port, warm_up)
        await unary_once(port, warm_up)
    runs: Sequence[tuple[str, Run]] = (("token", stream_once), ("request", unary_once))
    for _ in range(rounds):
        for name, (port, pid) in contestants.items():
            for kind, run in runs:
                before_s = cpu_s(pid)
                count = await run(port, shape)
                await asyncio.sleep(0.2)
                costs[name][kind].append((cpu_s(pid) - before_s) / count * 1e6)
    return costs


def _report(costs: dict[str, dict[str, list[float]]]) -> int:
    shape = Shape()
    table = Table(title=f"CPU of the frontend process (median of {len(costs[OURS]['token'])} rounds, us)")
    for column in ("", f"per token ({shape.streams} streams, {shape.gap_ms} ms apart)", "per short unary request"):
        table.add_column(column)
    medians = {name: {kind: statistics.median(found) for kind, found in kinds.items()} for name, kinds in costs.items()}
    for name, kinds in costs.items():
        cells = [f"{medians[name][kind]:.1f}  ({min(f):.1f} to {max(f):.1f})" for kind, f in kinds.items()]
        table.add_row(name, *cells)
    verdicts: list[bool] = []
    if PEER in medians:
        token = medians[OURS]["token"] / medians[PEER]["token"]
        unary = medians[OURS]["request"] / medians[PEER]["request"]
        verdicts = [token <= TOKEN_RATIO_MOST, unary <= UNARY_RATIO_MOST]
        table.add_row(
            "ratio", f"{token:.2f}  (at most {TOKEN_RATIO_MOST})", f"{unary:.2f}  (at most {UNARY_RATIO_MOST})"
        )
    Console().print(table)
    return 0 if all(verdicts) else 1


if __name__ == "__main__":
    sys.exit(main())
