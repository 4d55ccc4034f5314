"""`dynamo ps` and `dynamo down`: what runs on this machine. Edge: state folders and signals. Called by `main`."""

from __future__ import annotations

import contextlib
import difflib
import os
import signal
import sys
import time
from collections.abc import Sequence

import msgspec

from dynamo_operator.local.errors import Refused
from dynamo_operator.local.specs import STOP_DEADLINE_S
from dynamo_operator.local.state import GraphState, StateFolder, folders, started, state_root

_MARGIN_S = 5.0
_LOOK_EVERY_S = 0.05
_PIPE_COLUMNS = 200


def choose(name: str | None, among: Sequence[StateFolder], *, what: str) -> StateFolder:
    """The folder called `name`, or the only one. Raises Refused with the nearest name or the choices."""
    names = [folder.graph for folder in among]
    if name is None and len(among) == 1:
        return among[0]
    if name is None and among:
        raise Refused(f"several graphs are {what}: {', '.join(names)}", "name one of them")
    if not among:
        subject = "no graph" if name is None else f"no graph {name!r}"
        raise Refused(f"{subject} is {what} on this machine", "start one: dynamo up -f examples/agg-router.yaml")
    if name not in names:
        near = difflib.get_close_matches(name or "", names, n=1)
        hint = f"did you mean {near[0]}?" if near else f"these are: {', '.join(names)}"
        raise Refused(f"no graph {name!r} is {what} on this machine", hint)
    return among[names.index(name)]


def show_running(*, as_json: bool) -> None:
    """Every graph that is up, and those whose supervisor was killed and whose state is still there."""
    found = [(state, folder.is_up()) for folder in folders(state_root(os.environ)) if (state := folder.read())]
    if as_json:
        listed = [{**msgspec.to_builtins(state), "is_up": is_up} for state, is_up in found]
        print(msgspec.json.format(msgspec.json.encode(listed)).decode())
        return
    if not found:
        print("No graph is up on this machine. Start one: dynamo up -f examples/agg-router.yaml")
        return
    from rich.console import Console

    from dynamo_operator.cli.table import running_table

    # Whoever reads a pipe wants whole lines, whatever the width of the terminal behind it.
    console = Console(highlight=False, width=None if sys.stdout.isatty() else _PIPE_COLUMNS)
    console.print(running_table(found))


def take_down(name: str | None, *, everything: bool) -> None:
    present = [folder for folder in folders(state_root(os.environ)) if folder.read() or folder.is_up()]
    if everything and not present:
        print("No graph is up on this machine.")
    for folder in present if everything else [choose(name, present, what="up")]:
        _stop(folder)
        print(f"{folder.graph} is down.")


def _stop(folder: StateFolder) -> None:
    state = folder.read()
    if folder.is_up():
        pid = state.supervisor_pid if state is not None else None
        if state is None or pid is None or started(pid) != state.supervisor_started:
            raise Refused(f"{folder.graph} is starting and cannot be stopped yet", "try again in a second")
        print(f"Stopping {folder.graph} …", file=sys.stderr)
        for number, deadline_s in ((signal.SIGTERM, STOP_DEADLINE_S + _MARGIN_S), (signal.SIGKILL, _MARGIN_S)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
            if _is_gone_within(state, folder, deadline_s):
                break
        else:
            raise Refused(f"{folder.graph} does not stop; its supervisor is process {pid}")
    if state is not None:
        _kill_leftovers(state)
    folder.clear()


def _is_gone_within(state: GraphState, folder: StateFolder, deadline_s: float) -> bool:
    """Waits for the lock and for the supervisor itself, which lets go of the lock just before it ends."""
    until_s = time.monotonic() + deadline_s
    while folder.is_up() or started(state.supervisor_pid) == state.supervisor_started:
        if time.monotonic() > until_s:
            return False
        time.sleep(_LOOK_EVERY_S)
    return True


def _kill_leftovers(state: GraphState) -> None:
    """Only processes that still are the ones of the state: same number, same start time."""
    for process in state.processes:
        if process.pid is not None and process.started is not None and started(process.pid) == process.started:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
