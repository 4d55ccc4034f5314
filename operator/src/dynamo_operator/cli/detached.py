"""A graph that keeps running after `dynamo up` has returned: start a background supervisor, wait until it is ready.

Edge: one process and the state file. Called by `up`.
"""

from __future__ import annotations

import subprocess
import sys
import time

import msgspec
from rich.console import Console

from dynamo_operator.cli.report import greeting, last_words, raise_failure
from dynamo_operator.cli.screen import Screen
from dynamo_operator.local.errors import Refused, StartFailed
from dynamo_operator.local.specs import STOP_DEADLINE_S, Plan
from dynamo_operator.local.state import GraphState, StateFolder, write_private

_LOOK_EVERY_S = 0.05
_MARGIN_S = 5.0


def run_detached(todo: Plan, folder: StateFolder, console: Console) -> None:
    """Returns when the graph is ready; Ctrl-C before that stops it. Raises StartFailed with a log's last lines."""
    began_s = time.monotonic()
    write_private(folder.plan, msgspec.json.encode(todo))
    with folder.log("supervisor").open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "dynamo_operator.local.background", str(folder.path)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        state = _await_ready(process, folder, Screen(console, is_live=False))
    except KeyboardInterrupt:
        process.terminate()
        process.wait(STOP_DEADLINE_S + _MARGIN_S)
        raise Refused(f"interrupted before it was ready; {todo.graph} was stopped") from None
    console.print(greeting(state, time.monotonic() - began_s), markup=False)
    console.print(f"It keeps running. dynamo logs {todo.graph} -f shows its output, dynamo down {todo.graph} stops it.")


def _await_ready(process: subprocess.Popen[bytes], folder: StateFolder, screen: Screen) -> GraphState:
    while True:
        has_ended = process.poll() is not None
        state = folder.read()
        if state is not None and state.supervisor_pid == process.pid:
            screen.show(state)
            if state.is_ready and state.failure is None and not has_ended:
                return state
        if has_ended:
            folder.clear()
            if state is not None:
                raise_failure(state, folder)
            reason = f"the supervisor ended (exit code {process.returncode})"
            raise StartFailed(reason, last_words(folder, "supervisor"))
        time.sleep(_LOOK_EVERY_S)
