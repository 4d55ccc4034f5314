"""Which engine each component runs: stated by the graph, or read from the workers' commands. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping

from dynamo_operator.api import Component, Graph
from dynamo_operator.render.errors import RenderError

_MODULE = re.compile(r"\bdynamo\.(vllm|sglang|trtllm)\b")


def backend_frameworks(graph: Graph) -> Mapping[str, str | None]:
    """Framework by component name; None where nothing names one, as with custom workers and the mocker.

    Components that run no engine take the graph's, which is the first one found where none is stated.
    Raises RenderError where a command contradicts what the graph states.
    """
    found = {component.name: _found_in_command(component) for component in graph.components}
    stated = graph.backend_framework
    for name, framework in found.items():
        if stated is not None and framework not in (None, stated):
            raise RenderError(name, f"its command runs dynamo.{framework}", f"the graph's framework is {stated}")
    common = stated or next(filter(None, found.values()), None)
    return {name: framework or common for name, framework in found.items()}


def _found_in_command(component: Component) -> str | None:
    """None for components that are no workers: a frontend may name an engine in a flag."""
    if not component.is_worker:
        return None
    words = [*(component.main.get("command") or ()), *(component.main.get("args") or ())]
    match = _MODULE.search(" ".join(map(str, words)))
    return match.group(1) if match else None
