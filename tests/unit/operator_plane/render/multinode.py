"""Containers of multinode components, rendered for a leader and for a worker, for tests of one engine."""

from __future__ import annotations

from typing import Any

from tests.unit.operator_plane.render.factories import Document, a_component, a_graph, rendered

LEADER, WORKER = "leaderTemplate", "workerTemplate"


def several_nodes(engine: str | None, *args: str, nodes: int = 2, gpus: str | None = "8", **fields: Any) -> Document:
    """A worker component on several nodes that runs `python3 -m dynamo.<engine>`; `main` and `template` extend it."""
    command = ["python3", "-m", f"dynamo.{engine}"] if engine else ["serve"]
    limits = {"resources": {"limits": {"nvidia.com/gpu": gpus}}} if gpus else {}
    main = {"command": command, "args": list(args), **limits, **fields.pop("main", {})}
    return a_component(main=main, multinode={"nodeCount": nodes}, **fields)


def template(component: Document, role: str, *, context: Document | None = None, **spec: Any) -> Document:
    """The pod template of one role."""
    found: Document = a_set(component, context=context, **spec)["spec"]["leaderWorkerTemplate"][role]
    return found


def a_set(component: Document, *, context: Document | None = None, **spec: Any) -> Document:
    """The component's LeaderWorkerSet."""
    (found,) = rendered(
        a_graph(component, **spec), "LeaderWorkerSet", **{"has_leader_worker_sets": True, **(context or {})}
    )
    return found


def main_of(component: Document, role: str, **spec: Any) -> Document:
    """The main container of one role."""
    main: Document = template(component, role, **spec)["spec"]["containers"][0]
    assert main["name"] == "main"
    return main


def line_of(component: Document, role: str, **spec: Any) -> list[str]:
    """Its command and arguments together."""
    main = main_of(component, role, **spec)
    return [*main["command"], *main.get("args", [])]


def annotated(**annotations: str) -> Document:
    """A pod template's metadata; `_` in a name stands for `-`, and names are nvidia.com's."""
    named = {f"nvidia.com/{name.replace('_', '-')}": text for name, text in annotations.items()}
    return {"metadata": {"annotations": named}}
