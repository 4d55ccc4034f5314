"""The flags that say which cluster and namespace a command is about. Imports nothing heavy: commands declare it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Target:
    """`namespace` None: the context's own."""

    kubeconfig: Path | None = None
    context: str | None = None
    namespace: str | None = None

    @property
    def is_named(self) -> bool:
        """Some flag speaks of a cluster."""
        return any(each is not None for each in (self.kubeconfig, self.context, self.namespace))
