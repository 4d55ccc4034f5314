"""Which root an object's change concerns: up the chain of controlling owners. Pure over a store."""

from __future__ import annotations

from collections.abc import Mapping

from dynamo_operator.kube import Kind, Live, Ref
from dynamo_operator.kube.objects import COMPONENT_DEPLOYMENT, GRAPH, KINDS
from dynamo_operator.reconcile.ports import Store
from dynamo_operator.render import names

LONGEST_CHAIN = 6  # pod clique, scaling group, set, graph; a loop of owners ends here


def root_of(live: Live, store: Store) -> Ref | None:
    """The graph, or the component deployment without one, that an object belongs to."""
    step: Live | None = live
    ref = live.ref
    for _ in range(LONGEST_CHAIN):
        if ref.kind == GRAPH:
            return ref
        if step is None:
            return None
        owner = _controller(step)
        if owner is None:
            return ref if ref.kind == COMPONENT_DEPLOYMENT else None
        if owner.kind == COMPONENT_DEPLOYMENT and store.get(owner) is None and names.GRAPH_NAME in step.labels:
            return Ref(GRAPH, owner.namespace, step.labels[names.GRAPH_NAME])
        if owner.kind == COMPONENT_DEPLOYMENT and store.get(owner) is None:
            return owner
        ref, step = owner, store.get(owner)
    return None


def _controller(live: Live) -> Ref | None:
    for owner in live.document["metadata"].get("ownerReferences") or ():
        group = owner["apiVersion"].rpartition("/")[0]
        kind = _KINDS.get((group, owner["kind"]))
        if owner.get("controller") and kind is not None:
            return Ref(kind, live.ref.namespace, owner["name"])
    return None


# Owners may be named in any version of their kind.
_KINDS: Mapping[tuple[str, str], Kind] = {(kind.group, kind.name): kind for kind in KINDS.values()}
