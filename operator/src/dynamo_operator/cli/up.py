"""`dynamo up`: one manifest becomes running processes, in the foreground or detached. Called by `main`.

read -> render -> plan -> supervise -> show. Everything that can be refused is refused before anything starts.
"""

from __future__ import annotations

import importlib.util
import os
import random
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from dynamo_operator.cli.detached import run_detached
from dynamo_operator.cli.foreground import run_here
from dynamo_operator.cli.manifests import read_documents
from dynamo_operator.cli.pipeline import Rendered, choose_graph, render_document
from dynamo_operator.local.errors import Refused
from dynamo_operator.local.plan import PlanSettings, plan
from dynamo_operator.local.sockets import FreePorts
from dynamo_operator.local.specs import Plan
from dynamo_operator.local.state import AlreadyUp, StateFolder, state_root


@dataclass(frozen=True, slots=True)
class UpOptions:
    """The flags of `dynamo up`. `questions` None: no demonstration; empty: the demonstration's own questions."""

    file: Path
    port: int | None
    host: str
    is_detached: bool
    graph: str | None
    questions: tuple[str, ...] | None


def bring_up(options: UpOptions) -> None:
    """Returns when the graph has ended, or once it is ready when detached. Raises Refused if it cannot run."""
    console = Console(highlight=False, soft_wrap=True)
    if options.questions is not None and options.is_detached:
        raise Refused("--demo and --detach do not go together", "start detached first, then use the curl line")
    document, notes = choose_graph(read_documents(options.file), options.graph)
    rendered = render_document(document, None)
    folder = StateFolder(state_root(os.environ) / document.name)
    if folder.is_up():
        raise AlreadyUp(folder.graph)
    todo = make_plan(rendered, folder, options)
    folder.create()
    with folder.locked():
        folder.begin()
        _say(console, [*(f"warning: {text}" for text in rendered.warnings), *_as_notes([*notes, *todo.notes])])
        if not options.is_detached:
            run_here(todo, folder, options.questions, console)
            return
    # The background supervisor takes the lock itself: a lock cannot be handed over without a moment in between.
    run_detached(todo, folder, console)


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
        exists=os.path.exists,
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


def _as_notes(texts: Iterable[object]) -> list[str]:
    return [f"note: {text}" for text in texts]


def _say(console: Console, lines: list[str]) -> None:
    for line in lines:
        console.print(line, style="dim", markup=False)
