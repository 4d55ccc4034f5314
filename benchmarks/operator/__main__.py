"""`python -m benchmarks.operator [--graphs 100]`: prints how an operator carries so many graphs, beside the targets."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.operator.measuring import NODES, Calls, Figures, Pace, Plan, measure, measure_pace
from tests.cluster.local.api_only import running_api_cluster
from tests.cluster.settings import read_settings

# dynamo's Go operator for 100 graphs (400 pods) on the same kind of machine.
PEER = {
    "all children": "46 s",
    "all Ready": "59 s",
    "operator CPU": "16.8 s",
    "peak memory": "170 MB",
    "API calls": "11,500",
    "calls at rest, a minute": "29",
    "CPU at rest, a minute": "0.16 s",
    "deleted": "22 s",
}
# For 100 graphs; times and calls may grow with their number, memory may not grow beyond.
CHILDREN_S, READY_S, CALLS, PEAK_MB = 20.0, 30.0, 2500, 250.0
LEASE_CALLS = {("patch", "leases"), ("watch", "leases")}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--graphs", type=int, default=100)
    parser.add_argument("--rest-s", type=float, default=180.0)
    parser.add_argument("--deadline-s", type=float, default=1800.0)
    parser.add_argument(
        "--without-pods", action="store_true", help="only until all children are there, of which nobody makes pods"
    )
    arguments = parser.parse_args()
    plan = Plan(arguments.graphs, arguments.rest_s, arguments.deadline_s)
    has_pods, cache = not arguments.without_pods, read_settings(os.environ).cache
    with tempfile.TemporaryDirectory() as folder, running_api_cluster(cache, controllers=has_pods) as cluster:
        if not has_pods:
            return report_pace(asyncio.run(measure_pace(cluster, Path(folder), plan)))
        cluster.add_fake_nodes(NODES)
        figures = asyncio.run(measure(cluster, Path(folder), plan))
    return report(figures)


def report_pace(pace: Pace) -> int:
    print(f"all children {pace.children_s:.0f} s, operator CPU {pace.cpu_s:.1f} s")
    _print_plane(Console(width=120), pace.control_plane_cpu_s)
    return 0


def report(figures: Figures) -> int:
    """Prints the tables; 0 when every target is met."""
    scale = figures.graphs / 100
    calls = figures.calls.total()
    writes_at_rest = sum(number for call, number in figures.rest_calls.items() if call not in LEASE_CALLS)
    rows: list[tuple[str, str, str, bool]] = [
        ("applied by kubectl", f"{figures.applied_s:.1f} s", "", True),
        _row("all children", figures.children_s, CHILDREN_S * scale, "s"),
        _row("all Ready", figures.ready_s, READY_S * scale, "s"),
        ("operator CPU", f"{figures.cpu_s:.1f} s", "", True),
        ("passes", f"{figures.passes:,}", "", True),
        ("control plane's CPU", f"{sum(figures.control_plane_cpu_s.values()):.1f} s", "", True),
        _row("peak memory", figures.peak_rss_mb, PEAK_MB, "MB"),
        ("memory before", f"{figures.idle_rss_mb:.0f} MB", "", True),
        _row("API calls", calls, CALLS * scale, ""),
        ("calls at rest, a minute", f"{_a_minute(figures.rest_calls.total(), figures):.1f}", "", True),
        _row("of them not for the lease", writes_at_rest, 0, ""),
        ("CPU at rest, a minute", f"{_a_minute(figures.rest_cpu_s, figures):.2f} s", "", True),
        ("deleted", f"{figures.deleted_s:.1f} s", "", True),
    ]
    table = Table(title=f"{figures.graphs} graphs of three components, {figures.pods} pods")
    for column in ("", "ours", "target", "peer, 100 graphs"):
        table.add_column(column)
    for what, ours, target, _ in rows:
        table.add_row(what, ours, target, PEER.get(what, ""))
    console = Console(width=120)
    console.print(table)
    _print_calls(console, "Calls until all is settled", figures.calls)
    _print_calls(console, f"Calls in {figures.rest_s:.0f} s of rest", figures.rest_calls)
    _print_plane(console, figures.control_plane_cpu_s)
    return 0 if all(is_met for *_, is_met in rows) else 1


def _row(what: str, found: float, most: float, unit: str) -> tuple[str, str, str, bool]:
    return what, f"{found:,.0f} {unit}".strip(), f"at most {most:,.0f} {unit}".strip(), found <= most


def _a_minute(total: float, figures: Figures) -> float:
    return total / figures.rest_s * 60 if figures.rest_s else 0.0


def _print_plane(console: Console, spent_s: dict[str, float]) -> None:
    console.print(f"Control plane's CPU: {', '.join(f'{name} {cpu_s:.1f} s' for name, cpu_s in spent_s.items())}")


def _print_calls(console: Console, title: str, calls: Calls) -> None:
    console.print(f"{title}: {calls.total():,}")
    lines: Sequence[str] = [f"{verb} {resource} {number:,}" for (verb, resource), number in calls.most_common()]
    console.print("  " + ", ".join(lines))


if __name__ == "__main__":
    sys.exit(main())
