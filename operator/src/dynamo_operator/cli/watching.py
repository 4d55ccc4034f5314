"""`dynamo top`: what each worker does now, read from the workers' own metrics through the API server.

Needs no Prometheus, no shell in a pod and no port of this machine; it needs the right to get pods/proxy. Called by
`main`.
"""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from dynamo_operator.cli.cluster import Cluster, Forbidden, connect
from dynamo_operator.cli.listing import graph_named
from dynamo_operator.cli.target import Target
from dynamo_operator.cli.terminal import columns, paint_for, screenful
from dynamo_operator.cli.views import WORKER_LABELS, is_pod_ready, pod_state
from dynamo_operator.cli.worker_figures import Reading, WorkerFigures, reading, worker_figures
from dynamo_operator.kube import Document
from dynamo_operator.kube.objects import GRAPH, POD
from dynamo_operator.local.errors import Refused
from dynamo_operator.render import names
from dynamo_operator.render.environment import SYSTEM_PORT

_HEADINGS = ("WORKER", "COMPONENT", "STATE", "RUNNING", "WAITING", "KV USE", "TOKENS/S", "TTFT", "ITL", "CACHE HITS")
_CLEAR = "\033[H\033[2J"


@dataclass(frozen=True, slots=True)
class TopOptions:
    graph: str | None
    interval_s: float
    as_json: bool
    is_once: bool
    is_everywhere: bool


@dataclass(frozen=True, slots=True)
class WorkerLine:
    """One worker; `figures` is None where its metrics could not be read."""

    worker: str
    graph: str
    component: str
    state: str
    figures: WorkerFigures | None


class _Watch:
    """Owns the last reading of every worker."""

    def __init__(self, cluster: Cluster, graph: str | None) -> None:
        self._cluster = cluster
        self._labels = ",".join([WORKER_LABELS, *([f"{names.GRAPH_NAME}={graph}"] if graph else [])])
        self._last: dict[str, Reading] = {}

    def look(self) -> list[WorkerLine]:
        pods = sorted(self._cluster.find(POD, self._labels), key=lambda pod: str(pod["metadata"]["name"]))
        now = self._cluster.side_by_side(self._read, pods)
        lines = [_line(pod, self._figures(pod, found)) for pod, found in zip(pods, now, strict=True)]
        self._last = {_uid(pod): found for pod, found in zip(pods, now, strict=True) if found is not None}
        return lines

    def _figures(self, pod: Document, found: Reading | None) -> WorkerFigures | None:
        return worker_figures(self._last.get(_uid(pod)), found) if found is not None else None

    def _read(self, pod: Document) -> Reading | None:
        """None where the worker does not answer; lacking the right to ask is an error."""
        metadata = pod["metadata"]
        if (pod.get("status") or {}).get("phase") != "Running":
            return None
        try:
            page = self._cluster.page(metadata["name"], metadata["namespace"], metrics_port(pod), "/metrics")
        except Forbidden:
            raise
        except Refused:
            return None
        return reading(page, time.monotonic())


def watch_workers(options: TopOptions, target: Target) -> None:
    """Returns after one table where there is no terminal, else with Ctrl-C; raises Refused if nothing is there."""
    graph = graph_named(options.graph) if options.graph is not None else None
    cluster = connect(target, everywhere=options.is_everywhere)
    if graph is not None and not options.is_everywhere:
        cluster.get(GRAPH, graph)
    watch = _Watch(cluster, graph)
    is_live = sys.stdout.isatty() and not options.is_once and not options.as_json
    lines = watch.look()
    if not lines and not is_live:
        raise Refused("there are no workers", "dynamo get dgd -A lists the graphs of all namespaces")
    while is_live:
        size = shutil.get_terminal_size()
        shown = screenful(_HEADINGS, _rows(lines), paint_for(sys.stdout), width=size.columns, height=size.lines - 1)
        sys.stdout.write(_CLEAR + "\n".join(shown) + "\n")
        sys.stdout.flush()
        time.sleep(options.interval_s)
        lines = watch.look()
    if any(line.figures for line in lines):
        if sys.stderr.isatty():
            print(f"Watching for {options.interval_s:g} s …", file=sys.stderr)
        time.sleep(options.interval_s)
        lines = watch.look()
    if options.as_json:
        print(json.dumps([asdict(line) for line in lines], indent=2))
    else:
        print("\n".join(columns(_HEADINGS, _rows(lines), paint_for(sys.stdout))))


def _rows(lines: Sequence[WorkerLine]) -> list[list[str]]:
    return [[line.worker, line.component, line.state, *_cells(line.figures)] for line in lines]


def metrics_port(pod: Mapping[str, object]) -> int:
    """The port called `system` of the main container; the contract's own where none is named."""
    spec = pod.get("spec")
    containers = spec.get("containers") or () if isinstance(spec, Mapping) else ()
    ports = (port for each in containers for port in each.get("ports") or () if port.get("name") == "system")
    return next((int(port["containerPort"]) for port in ports), SYSTEM_PORT)


def _line(pod: Document, figures: WorkerFigures | None) -> WorkerLine:
    labels = pod["metadata"].get("labels") or {}
    state = pod_state(pod)
    if state == "Running" and not is_pod_ready(pod):
        state = "not ready"
    graph, component = (str(labels.get(key) or "-") for key in (names.GRAPH_NAME, names.COMPONENT))
    return WorkerLine(str(pod["metadata"]["name"]), graph, component, state, figures)


def _cells(figures: WorkerFigures | None) -> list[str]:
    if figures is None:
        return ["-"] * 7
    return [
        _text(figures.running, "{:.0f}"),
        _text(figures.waiting, "{:.0f}"),
        _text(figures.kv_share, "{:.0%}"),
        _text(figures.tokens_per_s, "{:,.0f}"),
        _text(figures.ttft_s, "{:.0f} ms", 1000),
        _text(figures.itl_s, "{:.1f} ms", 1000),
        _text(figures.hit_share, "{:.0%}"),
    ]


def _text(value: float | None, form: str, scale: float = 1.0) -> str:
    return "-" if value is None else form.format(value * scale)


def _uid(pod: Document) -> str:
    return str(pod["metadata"]["uid"])
