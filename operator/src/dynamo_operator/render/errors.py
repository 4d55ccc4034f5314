"""Errors of rendering.

RenderError(ValueError)    a component asks for something that cannot be rendered
  LacksKind                ... on this cluster, which does not serve a kind; on another, or later, it can
"""

from __future__ import annotations


class RenderError(ValueError):
    """A component cannot be rendered; carries its name, what was found and what is possible."""

    def __init__(self, component: str, found: str, allowed: str) -> None:
        super().__init__(f"component {component}: {found}; {allowed}")
        self.component = component
        self.found = found
        self.allowed = allowed


class LacksKind(RenderError):
    """No change of the graph is needed: it can be rendered once the cluster serves what is lacking."""
