"""What the terminal shows while a graph runs: a live table, or plain lines where there is no terminal.

Reads states it is handed and metrics pages; changes nothing. Called by `up`.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import time
from collections.abc import Iterator, Mapping

from rich.console import Console
from rich.live import Live

from dynamo_operator.cli.table import live_table
from dynamo_operator.local.figures import Figures, Sample, figures, sample
from dynamo_operator.local.probe import local_client, read_metrics
from dynamo_operator.local.state import GraphState, ProcessState
from dynamo_operator.local.supervise import Supervisor

_REFRESH_S = 0.5
_WINDOW = 6  # samples that a rate spans: 3 s, so that short bursts can be read


class Screen:
    """Owns the console while a graph runs."""

    def __init__(self, console: Console, *, is_live: bool | None = None) -> None:
        self.console = console
        self.is_live = console.is_terminal if is_live is None else is_live
        self._live: Live | None = None
        self._pauses = 0
        self._seen: dict[str, str] = {}
        self._samples: dict[str, collections.deque[Sample]] = {}

    def show(self, state: GraphState) -> None:
        """A new state: the table when live, else one line per process whose state changed."""
        if self.is_live:
            self._redraw(state)
            return
        for process in state.processes:
            line = _line(process)
            if self._seen.get(process.name) != line:
                self._seen[process.name] = line
                self.console.print(line, markup=False)

    def announce(self, text: str) -> None:
        """Prints above the table."""
        self.console.print(text, markup=False)

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """The table gives way to ordinary output."""
        self._pauses += 1
        self._close()
        try:
            yield
        finally:
            self._pauses -= 1

    async def live(self, supervisor: Supervisor) -> None:
        """Keeps the table's figures fresh until cancelled."""
        if not self.is_live:
            return
        try:
            async with local_client() as client:
                while True:
                    pages = {
                        process.name: await read_metrics(url, client)
                        for process in supervisor.state.processes
                        if process.status in {"ready", "stopping"} and (url := _metrics_url(process, supervisor.state))
                    }
                    self._take(pages, supervisor.state)
                    self._redraw(supervisor.state)
                    await asyncio.sleep(_REFRESH_S)
        finally:
            self._redraw(supervisor.state)
            self._close()

    def _take(self, pages: Mapping[str, str], state: GraphState) -> None:
        for process in state.processes:
            if page := pages.get(process.name):
                now = sample(page, is_frontend=process.http_port is not None, at_s=time.monotonic())
                self._samples.setdefault(process.name, collections.deque(maxlen=_WINDOW)).append(now)

    def _redraw(self, state: GraphState) -> None:
        if self._pauses or not self.is_live:
            return
        table = live_table(state, {name: _latest(samples) for name, samples in self._samples.items()})
        if self._live is None:
            self._live = Live(table, console=self.console, auto_refresh=False)
            self._live.start()
        self._live.update(table, refresh=True)

    def _close(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None


def _latest(samples: collections.deque[Sample]) -> Figures:
    return figures(samples[0] if len(samples) > 1 else None, samples[-1])


def _metrics_url(process: ProcessState, state: GraphState) -> str | None:
    if process.http_port is not None:
        host = state.url.rpartition(":")[0] if state.url else "http://127.0.0.1"
        return f"{host}:{process.http_port}/metrics"
    return f"http://127.0.0.1:{process.system_port}/metrics" if process.system_port is not None else None


def _line(process: ProcessState) -> str:
    if process.status == "waiting":
        return f"  {process.name}: ended ({process.last_exit}), starts again"
    return f"  {process.name}: {process.status}"
