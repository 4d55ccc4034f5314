"""Live objects with defaults, for tests that care about one field."""

from __future__ import annotations

from typing import Any

from dynamo_operator.kube import Kind, Live, Ref
from dynamo_operator.kube.objects import DEPLOYMENT


def a_live(kind: Kind = DEPLOYMENT, name: str = "d", *, generation: int = 1, **document: Any) -> Live:
    """`metadata` extends the name; `applied` is what we applied."""
    applied = document.pop("applied", {})
    metadata = {"name": name, "namespace": "ns", **document.pop("metadata", {})}
    whole = {"apiVersion": kind.api_version, "kind": kind.name, "metadata": metadata, **document}
    return Live(Ref(kind, "ns", name), f"uid-{name}", generation, "1", whole, applied)


def a_deployment(
    replicas: int = 2, *, pods: int | None = None, updated: int | None = None, available: int | None = None, **more: Any
) -> Live:
    """Complete unless told otherwise; `observed` is the generation that its status speaks of."""
    observed, generation = more.pop("observed", 1), more.pop("generation", 1)
    status = {
        "observedGeneration": observed,
        "replicas": replicas if pods is None else pods,
        "updatedReplicas": replicas if updated is None else updated,
        "readyReplicas": replicas if available is None else available,
        "availableReplicas": replicas if available is None else available,
        "conditions": more.pop("conditions", [{"type": "Available", "status": "True"}]),
    }
    return a_live(DEPLOYMENT, generation=generation, spec={"replicas": replicas}, status=status, **more)
