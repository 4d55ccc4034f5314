"""Objects that belong to a namespace: who asks for them, and their end when nobody does any longer.

Duty: see `plan.intents`, which says why they have no owner. Callers: the reconcilers.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from dynamo_operator.kube import Kind, Live, Ref
from dynamo_operator.kube.objects import COMPONENT_DEPLOYMENT, GRAPH, ROLE_BINDING, SERVICE, SERVICE_ACCOUNT
from dynamo_operator.plan.intents import SHARED_LABELS, is_shared
from dynamo_operator.reconcile.ports import Kube, Store
from dynamo_operator.reconcile.surroundings import FAILED_AGAIN_S
from dynamo_operator.reconcile.writing import remove
from dynamo_operator.render import names

log = logging.getLogger(__name__)

_ROOTS = (GRAPH, COMPONENT_DEPLOYMENT)
_LABEL_OF: Mapping[Kind, str] = {
    SERVICE: names.MANAGED_BY,
    SERVICE_ACCOUNT: SHARED_LABELS[1],
    ROLE_BINDING: SHARED_LABELS[1],
}


def wanting(shared: Live, store: Store) -> Ref | None:
    """The first graph, else component deployment, in the namespace that asks for a shared object."""
    for kind in _ROOTS:
        found = store.first(kind, shared.ref.namespace, lambda live: not live.is_terminating and _wants(live, shared))
        if found is not None:
            return found.ref
    return None


async def tidy(kube: Kube, store: Store, namespace: str) -> float | None:
    """Delete what nothing in a namespace asks for any longer; the API server is asked, as a store may lag.

    The seconds after which to try again, where others keep something; no root is left whose status could tell of it.
    """
    kept = [
        shared
        for kind, label in _LABEL_OF.items()
        for shared in store.uncontrolled(kind, namespace, {label: names.OPERATOR})
        if is_shared(shared) and not shared.is_terminating and wanting(shared, store) is None
    ]
    if not kept:
        return None
    present = [live for kind in _ROOTS for live in await kube.find(kind, namespace) if not live.is_terminating]
    refused = await remove(kube, [shared for shared in kept if not any(_wants(live, shared) for live in present)])
    for sentence in refused.values():
        log.warning("shared_object_kept namespace=%s message=%r", namespace, sentence)
    return FAILED_AGAIN_S if refused else None


def _wants(live: Live, shared: Live) -> bool:
    components = _components(live)
    if shared.ref.kind == SERVICE:
        models = [(each.get("modelRef") or {}).get("name") for each in components]
        return any(model and f"dynamo-model-{names.model_hash(model)}" == shared.ref.name for model in models)
    if shared.ref.name.startswith(names.PLANNER_ACCOUNT):
        # Every graph brings it: planners also run outside of the graphs that they scale.
        return live.ref.kind == GRAPH or any(each.get("type") == "planner" for each in components)
    if shared.ref.name.startswith(names.EPP_ACCOUNT):
        return any(each.get("type") == "epp" for each in components)
    return True  # not one of ours that is shared


def _components(live: Live) -> list[Mapping[str, Any]]:
    spec = live.document.get("spec") or {}
    if live.ref.kind == COMPONENT_DEPLOYMENT:
        return [spec]
    listed = spec.get("components")
    return [each for each in listed if isinstance(each, Mapping)] if isinstance(listed, list) else []
