"""What should exist, and whose it is. Pure; called by the graph's and the component deployment's plans.

Owner references of rendered documents name an owner by kind and name; here they become references, and get the uid once
the owner is there. An object that exists under another controller, or under none, is never taken over.

Shared objects belong to a namespace, not to one graph: the accounts of planners and endpoint pickers with their
bindings, and a base model's headless Service, which covers the pods of all graphs that serve it. They have no owner, so
graphs do not fight over them: each applies the same text, and the pass of a graph that is gone or that lost such a
component deletes those that nothing in the namespace asks for any longer. Upstream gives a model's Service to
one graph or component deployment; that owner is taken off.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from dynamo_operator.kube import Document, Live, Ref, ref_of
from dynamo_operator.kube.objects import KINDS, ROLE_BINDING, SCALING_ADAPTER, SERVICE
from dynamo_operator.render import names

SHARED_LABELS = (names.MANAGED_BY, "app.kubernetes.io/managed-by")


@dataclass(frozen=True, slots=True)
class Intent:
    """One object as it should be. `owner` controls it, None makes it shared; `document` names no owner."""

    ref: Ref
    document: Document
    owner: Ref | None


class Standing(Enum):
    """How an intent finds its object."""

    ABSENT = "absent"
    OURS = "ours"
    LEAVING = "leaving"  # it is being deleted, or its owner was: the next pass makes it anew
    FOREIGN = "foreign"


def intents(documents: Iterable[Mapping[str, Any]], namespace: str) -> tuple[Intent, ...]:
    """Rendered documents as intents, in their order."""
    return tuple(_intent(document, namespace) for document in documents)


def is_model_service(document: Mapping[str, Any]) -> bool:
    """True for the headless Service over all pods of a base model."""
    labels = document["metadata"].get("labels") or {}
    return document["kind"] == SERVICE.name and names.BASE_MODEL_HASH in labels and names.MANAGED_BY in labels


def is_shared(live: Live) -> bool:
    """True for an object of the operator that belongs to a whole namespace."""
    return live.controller_uid is None and any(live.labels.get(label) == names.OPERATOR for label in SHARED_LABELS)


def standing(intent: Intent, live: Live | None, owner_uid: str | None) -> Standing:
    """Whether the object may be written; `owner_uid` is the controlling owner's, None for shared objects."""
    if live is None:
        return Standing.ABSENT
    if live.is_terminating:
        return Standing.LEAVING
    if intent.owner is None:
        return Standing.OURS if is_shared(live) or _is_upstreams_model_service(live) else Standing.FOREIGN
    if live.controller_uid == owner_uid:
        return Standing.OURS
    return Standing.LEAVING if _had_owner_of_same_name(intent.owner, live) else Standing.FOREIGN


def completed(intent: Intent, live: Live | None, owner_uid: str | None) -> Document:
    """The document to apply: with its owner's uid, and with fields that others write later left as they are."""
    document = intent.document
    if live is not None and intent.ref.kind == SCALING_ADAPTER:
        document = _unscaled(document, live)
    if intent.owner is None:
        return document
    owner = {
        "apiVersion": intent.owner.kind.api_version,
        "kind": intent.owner.kind.name,
        "name": intent.owner.name,
        "uid": owner_uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }
    return {**document, "metadata": {**document["metadata"], "ownerReferences": [owner]}}


def clearance(document: Document, live: Live) -> list[dict[str, Any]]:
    """JSON Patch that takes away what an apply cannot: a Service's port that has the name of one of ours.

    Ports are told apart by number, so an apply adds ours beside the other, and names must not be there twice.
    """
    if live.ref.kind != SERVICE:
        return []
    wanted = document["spec"].get("ports") or []
    ours = {each["name"]: _port_key(each) for each in wanted}
    others = (live.document.get("spec") or {}).get("ports") or ()
    if all(_port_key(each) == ours.get(each.get("name"), _port_key(each)) for each in others):
        return []
    return [
        # Naming the version makes it a Conflict when it is no longer the Service that was seen.
        {"op": "replace", "path": "/metadata/resourceVersion", "value": live.resource_version},
        {"op": "replace", "path": "/spec/ports", "value": wanted},
    ]


def is_fixed_otherwise(document: Document, live: Live) -> bool:
    """True where it has to be made anew: a binding's role never changes, and another installation has another one."""
    return live.ref.kind == ROLE_BINDING and live.document["roleRef"] != document["roleRef"]


def _is_upstreams_model_service(live: Live) -> bool:
    """Upstream gives the Service to the graph or component deployment that came first, with which it would end."""
    owners = live.document["metadata"].get("ownerReferences") or ()
    return is_model_service(live.document) and any(each["apiVersion"].startswith("nvidia.com/") for each in owners)


def _port_key(port: Mapping[str, Any]) -> tuple[object, object]:
    return port.get("port"), port.get("protocol") or "TCP"


def _intent(document: Mapping[str, Any], namespace: str) -> Intent:
    ref = ref_of(document, namespace)
    metadata = {key: value for key, value in document["metadata"].items() if key != "ownerReferences"}
    placed = {**document, "metadata": {**metadata, "namespace": namespace}}
    return Intent(ref, placed, None if is_model_service(document) else _owner(document, namespace))


def _unscaled(adapter: Document, live: Live) -> Document:
    """Replicas of an adapter are seeded at creation; from then on whoever scales writes them.

    Until somebody did they are ours, and leaving them out would take them away. The version keeps an apply from
    undoing what was scaled since we looked.
    """
    spec = {key: value for key, value in adapter["spec"].items() if key != "replicas"}
    if "replicas" in (live.applied.get("spec") or {}):
        spec["replicas"] = live.document["spec"]["replicas"]
    metadata = {**adapter["metadata"], "resourceVersion": live.resource_version}
    return {**adapter, "metadata": metadata, "spec": spec}


def _owner(document: Mapping[str, Any], namespace: str) -> Ref | None:
    for owner in document["metadata"].get("ownerReferences") or ():
        return Ref(KINDS[owner["apiVersion"], owner["kind"]], namespace, owner["name"])
    return None


def _had_owner_of_same_name(owner: Ref, live: Live) -> bool:
    """Left over from an owner of the same name that was deleted; garbage collection is on its way."""
    return any(
        each.get("controller") and (each["kind"], each["name"]) == (owner.kind.name, owner.name)
        for each in live.document["metadata"].get("ownerReferences") or ()
    )
