"""Which engine a graph runs: stated, or read from the workers' commands. Pure."""

from __future__ import annotations

import re

from dynamo_operator.api import Component, Graph
from dynamo_operator.render.errors import RenderError

_MODULE = re.compile(r"\bdynamo\.(vllm|sglang|trtllm)\b")


def backend_framework(graph: Graph) -> str | None:
    """The stated framework, else the one found in commands; None for custom workers and the mocker.

    Raises RenderError where a component's command contradicts the stated framework or another component.
    """
    agreed = graph.backend_framework
    for component in graph.components:
        found = _found_in_command(component)
        if agreed is not None and found is not None and found != agreed:
            raise RenderError(component.name, f"its command runs dynamo.{found}", f"the graph's framework is {agreed}")
        agreed = agreed or found
    return agreed


def _found_in_command(component: Component) -> str | None:
    """None for components that are no workers: a frontend may name an engine in a flag."""
    if not component.is_worker:
        return None
    words = [*(component.main.get("command") or ()), *(component.main.get("args") or ())]
    match = _MODULE.search(" ".join(map(str, words)))
    return match.group(1) if match else None
