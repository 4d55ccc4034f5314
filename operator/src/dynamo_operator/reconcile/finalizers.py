"""The finalizer that the Dynamo contract has: whose objects hold it, and how it is taken off.

Duty: one way to change finalizers. Models hold ours while adapters are loaded. Graphs and component deployments hold
none of ours, but those that upstream's operator made hold the same one, and nobody else would ever take it off: they
would hang in deletion. Finalizers of others are left alone. Callers: the reconcilers.
"""

from __future__ import annotations

from typing import Any

from dynamo_operator.kube import Blocked, Conflict, Forbidden, Gone, Invalid, Live
from dynamo_operator.reconcile.ports import Kube

FINALIZER = "nvidia.com/finalizer"


def is_held(live: Live) -> bool:
    return FINALIZER in _finalizers(live)


def holding(live: Live) -> list[dict[str, Any]]:
    """JSON Patch that adds it."""
    return _with_finalizers(live, [*_finalizers(live), FINALIZER])


def letting_go(live: Live) -> list[dict[str, Any]]:
    """JSON Patch that takes it off."""
    return _with_finalizers(live, [each for each in _finalizers(live) if each != FINALIZER])


async def release(kube: Kube, live: Live) -> Live:
    """The object without it; as it was where that is refused, or somebody changed it meanwhile: another pass tries."""
    if not is_held(live):
        return live
    try:
        return await kube.patch(live.ref, letting_go(live))
    except (Conflict, Gone, Invalid, Forbidden, Blocked):
        return live


def _finalizers(live: Live) -> list[str]:
    return list(live.document["metadata"].get("finalizers") or ())


def _with_finalizers(live: Live, finalizers: list[str]) -> list[dict[str, Any]]:
    """Naming the version makes it a Conflict when somebody else changed the list meanwhile."""
    return [
        {"op": "replace", "path": "/metadata/resourceVersion", "value": live.resource_version},
        {"op": "add", "path": "/metadata/finalizers", "value": finalizers},
    ]
