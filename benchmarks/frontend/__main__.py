"""`python -m benchmarks.frontend [--rounds 3]`: prints CPU per streamed token and per short request, and the ratios."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import statistics
import sys
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path

import uvloop
from rich.console import Console
from rich.table import Table

from benchmarks.frontend.contestants import cpu_s, mock_workers, our_frontend, vllm_router
from benchmarks.frontend.load import Shape, stream_once, unary_once

OURS, PEER = "dynamo", "vllm-router"
Run = Callable[[int, Shape], Awaitable[int]]
Costs = dict[str, dict[str, list[float]]]
"""Microseconds by contestant and kind of load, a value per round."""

WARM_UP = Shape(streams=8, tokens=20, gap_ms=1, unary_requests=200, unary_at_once=8)
RUNS: tuple[tuple[str, Run, Shape], ...] = (
    ("per token, 64 streams 20 ms apart", stream_once, Shape()),
    ("per short request, one at a time", unary_once, Shape()),
    ("per short request, 8 at a time", unary_once, Shape(unary_requests=3000, unary_at_once=8)),
)
RATIO_MOST = {RUNS[0][0]: 1.0, RUNS[1][0]: 1.5}
"""Targets. A closed loop of 8 clients keeps the peer's threads awake, which flatters it: shown without a target."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
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
        costs = uvloop.run(_measure(contestants, arguments.rounds))
    return _report(costs)


async def _measure(contestants: dict[str, tuple[int, int]], rounds: int) -> Costs:
    costs: Costs = {name: {kind: [] for kind, _, _ in RUNS} for name in contestants}
    for port, _ in contestants.values():
        await stream_once(port, WARM_UP)
        await unary_once(port, WARM_UP)
    for _ in range(rounds):
        for kind, run, shape in RUNS:
            for name, (port, pid) in contestants.items():
                before_s = cpu_s(pid)
                count = await run(port, shape)
                await asyncio.sleep(0.2)
                costs[name][kind].append((cpu_s(pid) - before_s) / count * 1e6)
    return costs


def _report(costs: Costs) -> int:
    rounds = len(next(iter(costs[OURS].values())))
    table = Table(title=f"CPU of the frontend process, us (median of {rounds} rounds, least to most)")
    for column in ("", *costs):
        table.add_column(column)
    if PEER in costs:
        table.add_column("ratio")
        table.add_column("target")
    is_met = True
    for kind, _, _ in RUNS:
        medians = {name: statistics.median(found[kind]) for name, found in costs.items()}
        cells = [f"{medians[name]:.1f}  ({min(f[kind]):.1f} to {max(f[kind]):.1f})" for name, f in costs.items()]
        if PEER in costs:
            ratio, most = medians[OURS] / medians[PEER], RATIO_MOST.get(kind)
            is_met = is_met and (most is None or ratio <= most)
            cells += [f"{ratio:.2f}", "none" if most is None else f"at most {most}"]
        table.add_row(kind, *cells)
    Console().print(table)
    return 0 if is_met else 1


if __name__ == "__main__":
    sys.exit(main())
