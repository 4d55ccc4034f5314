"""What the webhook server needs of the world: a few reads and writes, and somebody who counts its answers."""

from __future__ import annotations

from typing import Any, Protocol

from dynamo_operator.kube import Document, Live, Ref


class Kube(Protocol):
    """Reads and writes for certificates and their injection; all raise `KubeError`s and nothing else."""

    async def get(self, ref: Ref) -> Live | None: ...

    async def apply(self, document: Document, *, is_new: bool = False) -> Live: ...

    async def patch(self, ref: Ref, operations: list[dict[str, Any]], *, subresource: str = "") -> Live:
        """JSON Patch (RFC 6902)."""
        ...


class Observer(Protocol):
    """Counts answers; `handlers` gives one that feeds the operator's metrics."""

    def answered(self, operation: str, result: str, duration_s: float, *, denied_fields: tuple[str, ...] = ()) -> None:
        """`operation`: validate, mutate or convert.

        `result`: allowed, denied, failed (a conversion), malformed (the request), late or error.
        `denied_fields` are paths without indices and keys (`spec.components.replicas`), so that their number is bound.
        """
        ...
