"""`dynamo up`: one manifest becomes running processes, in the foreground or detached. Called by `main`.

read -> render -> plan -> supervise -> show. Everything that can be refused is refused before anything starts.
"""

from __future__ import annotations

import asyncio
import importlib.util
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec
from rich.console import Console

from dynamo_operator.cli.curl import curl_line
from dynamo_operator.cli.manifests import read_documents
from dynamo_operator.cli.pipeline import Rendered, choose_graph, render_document
from dynamo_operator.cli.screen import Screen
from dynamo_operator.local.environment import inherited
from dynamo_operator.local.errors import Refused, StartFailed
from dynamo_operator.local.plan import PlanSettings, plan
from dynamo_operator.local.sockets import FreePorts
from dynamo_operator.local.specs import Plan
from dynamo_operator.local.state import GraphState, StateFolder, state_root, write_private
from dynamo_operator.local.supervise import Supervisor

_LOOK_EVERY_S = 0.05
_STOP_DEADLINE_S = 20.0
_LOG_LINES = 12


@dataclass(frozen=True, slots=True)
class UpOptions:
    """The flags of `dynamo up`."""

    file: Path
    port: int | None
    host: str
    detach: bool
    graph: str | None
    demo: bool
    prompts: tuple[str, ...]


def bring_up(options: UpOptions) -> int:
    """Runs until the graph ends, or until it is ready when detached; the exit code."""
    console = Console(highlight=False, soft_wrap=True)
    if options.demo and options.detach:
        raise Refused("--demo and --detach do not go together", "start detached first, then use the curl line")
    document, notes = choose_graph(read_documents(options.file), options.graph)
    rendered = render_document(document, None)
    folder = StateFolder(state_root(os.environ) / document.name)
    folder.create()
    with folder.locked():
        folder.begin()
        todo = make_plan(rendered, folder, options)
        _say_notes(console, [*(f"warning: {text}" for text in rendered.warnings), *notes, *map(str, todo.notes)])
        if not options.detach:
            return _run_here(todo, folder, options, console)
        write_private(folder.plan, msgspec.json.encode(todo))
    return _run_detached(todo, folder, console)


def make_plan(rendered: Rendered, folder: StateFolder, options: UpOptions) -> Plan:
    """Raises Refused for a component that cannot run here and PortInUse for a taken --port."""
    ports = FreePorts(options.host, random.SystemRandom())
    settings = PlanSettings(
        namespace=rendered.namespace,
        discovery_folder=str(folder.discovery),
        python=sys.executable,
        host=options.host,
        take_port=ports.take,
        is_available=is_available,
        frontend_port=ports.claim(options.port) if options.port is not None else None,
    )
    return plan(rendered.name, rendered.objects, settings)


def is_available(module: str) -> bool:
    """Whether `python -m dynamo.…` can start, found out without importing any of it."""
    top, *rest = module.split(".")
    spec = importlib.util.find_spec(top)
    folders = list(spec.submodule_search_locations or ()) if spec is not None else []
    places = [Path(folder, *rest) for folder in folders]
    return any((place / "__main__.py").is_file() or place.with_suffix(".py").is_file() for place in places)


def _say_notes(console: Console, notes: list[str]) -> None:
    for note in notes:
        console.print(f"note: {note}", style="dim", markup=False)


def _own_environment() -> Mapping[str, str]:
    return inherited(os.environ, str(Path(sys.executable).parent))


def _run_here(todo: Plan, folder: StateFolder, options: UpOptions, console: Console) -> int:
    last = asyncio.run(_foreground(todo, folder, options, console))
    folder.clear()
    _raise_failure(last, folder)
    console.print(f"{todo.graph} is down; nothing is left running.")
    return 0


async def _foreground(todo: Plan, folder: StateFolder, options: UpOptions, console: Console) -> GraphState:
    ready = asyncio.Event()
    screen = Screen(console)

    def changed(state: GraphState) -> None:
        screen.show(state)
        if state.is_ready:
            ready.set()

    supervisor = Supervisor(todo, folder, _own_environment(), changed)
    stopping = asyncio.Event()

    def stop() -> None:
        stopping.set()
        supervisor.request_stop()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, stop)
    began_s = time.monotonic()
    async with asyncio.TaskGroup() as tasks:
        run = tasks.create_task(supervisor.run())
        view = tasks.create_task(screen.live(supervisor))
        greet = tasks.create_task(_greet(supervisor, ready, stopping, screen, options, began_s))
        await asyncio.wait({run})
        view.cancel()
        greet.cancel()
    return supervisor.state


async def _greet(
    supervisor: Supervisor,
    ready: asyncio.Event,
    stopping: asyncio.Event,
    screen: Screen,
    options: UpOptions,
    began_s: float,
) -> None:
    """Says where the graph answers, and holds the demonstration if one was asked for."""
    chat = None
    if options.demo:
        from dynamo_operator.cli.demo import load_client

        chat = asyncio.create_task(load_client())
    await ready.wait()
    state = supervisor.state
    screen.announce(_greeting(state, time.monotonic() - began_s))
    if chat is not None:
        from dynamo_operator.cli.demo import hold_demo

        try:
            with screen.paused():
                await hold_demo(await chat, state, options.prompts, screen.console, began_s)
        except Refused as refused:
            screen.announce(f"The demonstration failed: {refused.message}\n  {refused.hint}")
            screen.exit_failure = refused
        if not screen.is_live or screen.exit_failure:
            stopping.set()
            supervisor.request_stop()
            return
    if not stopping.is_set():
        screen.announce("Press Ctrl-C to stop.")


def _greeting(state: GraphState, took_s: float) -> str:
    lines = [f"{state.graph} is ready after {took_s:.1f} s" + (f": {state.url}" if state.url else "")]
    if state.url and state.model:
        lines.append(f"  {curl_line(state.url, state.model)}")
    return "\n".join(lines)


def _run_detached(todo: Plan, folder: StateFolder, console: Console) -> int:
    began_s = time.monotonic()
    log = folder.log("supervisor")
    with log.open("ab") as output:
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
        process.wait(_STOP_DEADLINE_S)
        raise Refused(f"interrupted; {todo.graph} was stopped") from None
    console.print(_greeting(state, time.monotonic() - began_s), markup=False)
    console.print(f"It keeps running. dynamo logs {todo.graph} -f shows its output, dynamo down {todo.graph} stops it.")
    return 0


def _await_ready(process: subprocess.Popen[bytes], folder: StateFolder, screen: Screen) -> GraphState:
    while True:
        state = folder.read()
        if state is not None and state.supervisor_pid == process.pid:
            screen.show(state)
            if state.is_ready and state.failure is None:
                return state
        if process.poll() is not None:
            last = folder.read()
            if last is not None:
                folder.clear()
                _raise_failure(last, folder)
            raise StartFailed(f"the supervisor ended (exit code {process.returncode})", _tail(folder, "supervisor"))
        time.sleep(_LOOK_EVERY_S)


def _raise_failure(state: GraphState, folder: StateFolder) -> None:
    if state.failure is not None:
        name = state.failure.partition(" ")[0]
        raise StartFailed(state.failure, _tail(folder, name))


def _tail(folder: StateFolder, process: str) -> str:
    log = folder.log(process)
    lines = log.read_text(errors="replace").splitlines()[-_LOG_LINES:] if log.exists() else []
    shown = "\n".join(f"    {line}" for line in lines) or "    (nothing)"
    return f"the last it wrote to {log}:\n{shown}"
