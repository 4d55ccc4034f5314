"""Tables of graphs and their processes. Pure: values in, rich renderables out. Called by `ps` and the live view."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.table import Table
from rich.text import Text

from dynamo_operator.local.figures import Figures
from dynamo_operator.local.state import GraphState, ProcessState

_STYLES = {"ready": "green", "starting": "yellow", "stopping": "yellow", "unready": "red", "waiting": "red"}


def live_table(state: GraphState, figures: Mapping[str, Figures]) -> Table:
    """One row per process; `figures` by process name, absent where nothing was read yet."""
    table = Table(title=_title(state), title_justify="left", title_style="bold", box=None, padding=(0, 2, 0, 0))
    for heading in ("component", "role", "state"):
        table.add_column(heading)
    for heading in ("requests", "tokens/s", "cache hits"):
        table.add_column(heading, justify="right")
    for process in state.processes:
        table.add_row(process.name, process.role, _status(process), *_cells(figures.get(process.name)))
    return table


def running_table(graphs: Sequence[tuple[GraphState, bool]]) -> Table:
    """`dynamo ps`: one row per process; the flag says whether the graph is supervised."""
    table = Table(box=None, padding=(0, 2, 0, 0))
    for heading in ("graph", "component", "role", "state", "pid", "restarts", "address"):
        table.add_column(heading, overflow="fold")
    for state, is_up in graphs:
        for process in state.processes:
            port = process.http_port or process.system_port
            address = state.url if process.http_port and state.url else f"http://127.0.0.1:{port}" if port else ""
            status = _status(process) if is_up else Text("killed", style="red")
            pid = str(process.pid or "") if is_up else ""
            table.add_row(state.graph, process.name, process.role, status, pid, str(process.restarts), address)
    return table


def _title(state: GraphState) -> str:
    return f"{state.graph}  {state.url}" if state.url else state.graph


def _status(process: ProcessState) -> Text:
    text = f"{process.status} ({process.last_exit})" if process.status == "waiting" else str(process.status)
    if process.restarts and process.status == "ready":
        text += f", {process.restarts} restarts" if process.restarts > 1 else ", 1 restart"
    return Text(text, style=_STYLES.get(process.status, "dim"))


def _cells(figures: Figures | None) -> tuple[str, str, str]:
    if figures is None:
        return "", "", ""
    hits = "" if figures.hit_ratio is None else f"{figures.hit_ratio:.0%}"
    return f"{figures.requests:,}", f"{figures.tokens_per_s:,.0f}", hits
