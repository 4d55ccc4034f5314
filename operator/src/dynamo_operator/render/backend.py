"""Which engine each component runs: stated by the graph, or read from the workers' commands. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from dynamo_operator.api import Component, Graph
from dynamo_operator.api.engines import engines_of
from dynamo_operator.render.errors import RenderError


def backend_frameworks(graph: Graph, *, shares: bool = True) -> Mapping[str, str | None]:
    """Framework by component name; None where nothing names one, as with custom workers and the mocker.

    Components that run no engine take the graph's, which is the first one found where none is stated and `shares`.
    Raises RenderError where a command contradicts what the graph states, or starts several engines and none is stated.
    """
    stated = graph.backend_framework
    found = {component.name: _found_in_command(component, stated) for component in graph.components}
    common = stated or (next(filter(None, found.values()), None) if shares else None)
    return {name: framework or common for name, framework in found.items()}


def _found_in_command(component: Component, stated: str | None) -> str | None:
    """None for components that are no workers: a frontend may name an engine in a flag."""
    if not component.is_worker:
        return None
    found = engines_of((*(component.main.get("command") or ()), *(component.main.get("args") or ())))
    if len(found) > 1 and stated is None:
        modules = " and ".join(f"dynamo.{engine}" for engine in found)
        raise RenderError(component.name, f"its command runs {modules}", "state the graph's backendFramework")
    if len(found) == 1 and stated not in (None, *found):
        raise RenderError(component.name, f"its command runs dynamo.{found[0]}", f"the graph's framework is {stated}")
    return found[0] if len(found) == 1 else None
