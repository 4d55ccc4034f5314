"""A graph that lives as long as its terminal: supervise, show, greet, stop on Ctrl-C. Called by `up`."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from dynamo_operator.cli.report import greeting, raise_failure
from dynamo_operator.cli.screen import Screen
from dynamo_operator.local.command import module_of
from dynamo_operator.local.environment import inherited
from dynamo_operator.local.errors import Refused
from dynamo_operator.local.specs import Plan
from dynamo_operator.local.state import GraphState, StateFolder
from dynamo_operator.local.supervise import Supervisor


def run_here(todo: Plan, folder: StateFolder, questions: Sequence[str] | None, console: Console) -> None:
    """Returns after a clean stop. The caller holds the folder's lock. Raises Refused if start or demonstration fail."""
    run = _Foreground(todo, folder, questions, console)
    try:
        asyncio.run(run.until_stopped())
    finally:
        folder.clear()
    raise_failure(run.supervisor.state, folder)
    if run.demo_failure is not None:
        raise run.demo_failure
    console.print(f"{todo.graph} is down; nothing is left running.")


class _Foreground:
    """One run in the foreground."""

    def __init__(self, todo: Plan, folder: StateFolder, questions: Sequence[str] | None, console: Console) -> None:
        self._began_s = time.monotonic()
        self._todo = todo
        self._questions = questions
        self._screen = Screen(console)
        self._ready = asyncio.Event()
        own = inherited(os.environ, str(Path(sys.executable).parent))
        self.supervisor = Supervisor(todo, folder, own, self._changed)
        self.demo_failure: Refused | None = None

    async def until_stopped(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, self.supervisor.request_stop)
        async with asyncio.TaskGroup() as tasks:
            companions = [
                tasks.create_task(self._screen.live(self.supervisor)),
                tasks.create_task(self._welcome()),
            ]
            await self.supervisor.run()
            for companion in companions:
                companion.cancel()

    def _changed(self, state: GraphState) -> None:
        self._screen.show(state)
        if state.is_ready:
            self._ready.set()

    async def _welcome(self) -> None:
        """Says where the graph answers, and holds the demonstration if one was asked for."""
        if self._questions is None:
            await self._greet()
        else:
            try:
                await self._demonstrate(self._questions)
            except Refused as refused:
                # Stopping in the middle of an answer cuts it off; that is no failure.
                self.demo_failure = None if self.supervisor.is_stopping else refused
            if self.demo_failure is not None or not self._screen.is_live:
                self.supervisor.request_stop()
                return
        self._screen.announce("Press Ctrl-C to stop.")

    async def _greet(self) -> None:
        await self._ready.wait()
        self._screen.announce(greeting(self.supervisor.state, time.monotonic() - self._began_s))

    async def _demonstrate(self, questions: Sequence[str]) -> None:
        from dynamo_operator.cli.demo import hold_demo, load_client

        client_type = await load_client()  # beside the starting processes
        await self._greet()
        with self._screen.paused():
            if any(module_of(spec.argv) == "dynamo.mocker" for spec in self._todo.processes):
                self._screen.announce(
                    "\nThe mocker makes its words up; routing, caching and timing are what they seem.\n"
                )
            await hold_demo(client_type, self.supervisor.state, questions, self._screen.console)
