"""Runs the processes of one plan until asked to stop, and leaves nothing running.

Owns the children, the guard, the state file and the log files' sizes. It does not print and does not choose ports or
commands. Called by `dynamo up` in the foreground and by `background` when detached.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
from collections.abc import Callable, Mapping

import httpx
import msgspec

from dynamo_operator.local.child import Child
from dynamo_operator.local.guarding import Guard
from dynamo_operator.local.probe import first_model, local_client
from dynamo_operator.local.specs import Plan
from dynamo_operator.local.state import GraphState, StateFolder, started

LOG_BYTES = 16 * 1024 * 1024
"""A log beyond this size is moved to `.log.1`; so each process keeps at most twice as much."""

_MODEL_DEADLINE_S = 15.0  # ready processes that never list a model (a lone prefill, say) are shown as they are
_MODEL_EVERY_S = 0.1
_HOUSE_EVERY_S = 5.0


class Supervisor:
    """One run of a graph. `on_change` gets every new state, in the event loop."""

    def __init__(
        self, plan: Plan, folder: StateFolder, inherited: Mapping[str, str], on_change: Callable[[GraphState], None]
    ) -> None:
        self._plan = plan
        self._folder = folder
        self._inherited = inherited
        self._on_change = on_change
        self._children: list[Child] = []
        self._stop_requests = 0
        self.state = GraphState(
            graph=plan.graph,
            supervisor_pid=os.getpid(),
            supervisor_started=started(os.getpid()),
            url=plan.url,
            processes=(),
        )

    async def run(self) -> GraphState:
        """Returns the last state once every process has ended. The caller holds the folder's lock."""
        with Guard() as guard:
            async with local_client() as client, asyncio.TaskGroup() as tasks:
                self._children = [self._child(index, guard, client) for index in range(len(self._plan.processes))]
                lives = [tasks.create_task(child.run()) for child in self._children]
                chores = [tasks.create_task(self._await_model(client)), tasks.create_task(self._keep_logs_small())]
                await asyncio.wait(lives)
                for chore in chores:
                    chore.cancel()
        return self.state

    @property
    def is_stopping(self) -> bool:
        return self._stop_requests > 0

    def request_stop(self) -> None:
        """The first request lets processes finish their streams; the second kills them."""
        self._stop_requests += 1
        for child in self._children:
            if self._stop_requests == 1:
                child.stop()
            else:
                child.kill()

    def _child(self, index: int, guard: Guard, client: httpx.AsyncClient) -> Child:
        spec = self._plan.processes[index]
        return Child(
            spec,
            self._folder.log(spec.name),
            inherited=self._inherited,
            guard=guard,
            client=client,
            on_change=self._refresh,
            on_failure=self._give_up,
        )

    def _refresh(self) -> None:
        processes = tuple(child.state for child in self._children)
        self._publish(processes=processes, is_ready=self.state.is_ready or self._counts_as_ready(self.state.model))

    def _counts_as_ready(self, model: str | None) -> bool:
        has_models = model is not None or not self._plan.serves_models
        return has_models and self._all_ready()

    def _all_ready(self) -> bool:
        return all(child.state.status == "ready" for child in self._children)

    async def _await_model(self, client: httpx.AsyncClient) -> None:
        if not self._plan.serves_models or self._plan.url is None:
            return
        waited_s = 0.0
        while waited_s < _MODEL_DEADLINE_S:
            if self._all_ready():
                waited_s += _MODEL_EVERY_S
                if (model := await first_model(self._plan.url, client)) is not None:
                    self._publish(model=model, is_ready=self.state.is_ready or self._counts_as_ready(model))
                    return
            await asyncio.sleep(_MODEL_EVERY_S)
        self._publish(is_ready=True)

    def _give_up(self, reason: str) -> None:
        if self.state.failure is None and not self.is_stopping:
            self._publish(failure=reason)
            self.request_stop()

    def _publish(self, **changes: object) -> None:
        fresh = msgspec.structs.replace(self.state, **changes)
        if fresh != self.state:
            self.state = fresh
            # A full disk must not take down what runs; `dynamo ps` then shows an older state.
            with contextlib.suppress(OSError):
                self._folder.write(fresh)
            self._on_change(fresh)

    async def _keep_logs_small(self) -> None:
        """Copies and empties, since the writer keeps its file open; lines written in between can be lost."""
        while True:
            await asyncio.sleep(_HOUSE_EVERY_S)
            for spec in self._plan.processes:
                log = self._folder.log(spec.name)
                if log.exists() and log.stat().st_size > LOG_BYTES:
                    shutil.copyfile(log, log.with_suffix(".log.1"))
                    os.truncate(log, 0)
