"""Reviews as an API server sends them, and a Kubernetes API of three objects in memory."""

from __future__ import annotations

import asyncio
import base64
import copy
import json
from collections.abc import Callable
from typing import Any

from dynamo_operator.kube import Conflict, Document, Gone, Live, Ref
from dynamo_operator.kube.objects import SECRET
from dynamo_operator.validate import Context
from dynamo_operator.webhook import AdmissionContext

USER = "jane"
OPERATOR = "system:serviceaccount:dynamo-system:dynamo-operator"


def a_context(cluster: Context | None = None, **fields: Any) -> AdmissionContext:
    return AdmissionContext(cluster or Context(), "1.5.0", frozenset({OPERATOR}), **fields)


def a_review(document: Document, old: Document | None = None, **request: Any) -> Document:
    """An AdmissionReview of a creation, or of an update when there is an old object."""
    asked = {
        "uid": "u-1",
        "operation": "CREATE" if old is None else "UPDATE",
        "name": document["metadata"].get("name", ""),
        "namespace": "team",
        "userInfo": {"username": USER},
        "object": document,
        "oldObject": old,
        **request,
    }
    return {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": asked}


def a_conversion(wanted: str, *objects: Any, **request: Any) -> Document:
    asked = {"uid": "u-1", "desiredAPIVersion": wanted, "objects": list(objects), **request}
    return {"apiVersion": "apiextensions.k8s.io/v1", "kind": "ConversionReview", "request": asked}


def patch_of(review: Document) -> list[Document]:
    """The JSON Patch of a response; empty if there is none."""
    patch = review["response"].get("patch")
    return json.loads(base64.b64decode(patch)) if patch else []


class MemoryKube:
    """`webhook.ports.Kube` over a dictionary. `before_patch` runs once, when the next patch arrives."""

    def __init__(self, **objects: Document) -> None:
        self.objects: dict[str, Document] = objects
        self.writes = 0
        self.written = asyncio.Event()
        self.before_patch: Callable[[], None] | None = None
        self.failure: Exception | None = None
        self.patch_failure: Exception | None = None  # of cluster-scoped objects

    async def get(self, ref: Ref) -> Live | None:
        if self.failure:
            raise self.failure
        return self._live(ref) if ref.name in self.objects else None

    async def apply(self, document: Document, *, is_new: bool = False) -> Live:
        name = document["metadata"]["name"]
        self.objects.setdefault(name, copy.deepcopy(document))
        self._written(name)
        return self._live(_ref_to(name))

    async def patch(self, ref: Ref, operations: list[dict[str, Any]], *, subresource: str = "") -> Live:
        hook, self.before_patch = self.before_patch, None
        if hook:
            hook()
        if self.patch_failure and not ref.namespace:
            raise self.patch_failure
        if ref.name not in self.objects:
            raise Gone(ref.name)
        changed = copy.deepcopy(self.objects[ref.name])
        for operation in operations:
            _carry_out(changed, operation)
        self.objects[ref.name] = changed
        self._written(ref.name)
        return self._live(ref)

    def _written(self, name: str) -> None:
        self.writes += 1
        self.written.set()
        self.objects[name]["metadata"]["resourceVersion"] = str(self.writes)

    def _live(self, ref: Ref) -> Live:
        document = copy.deepcopy(self.objects[ref.name])
        return Live(ref, "uid", 1, document["metadata"].get("resourceVersion", "0"), document)


def _ref_to(name: str) -> Ref:
    return Ref(SECRET, "dynamo-system", name)


def _carry_out(document: Any, operation: Document) -> None:
    """RFC 6902's `add` and `test`, for members of objects and elements of lists."""
    *way, last = [step.replace("~1", "/").replace("~0", "~") for step in operation["path"].split("/")[1:]]
    place = document
    for step in way:
        place = place[int(step)] if isinstance(place, list) else place[step]
    if operation["op"] == "add":
        place[last] = operation["value"]
    elif operation["op"] == "test":
        if place.get(last) != operation["value"]:
            raise Conflict(f"{operation['path']} is {place.get(last)!r}")
    else:
        raise AssertionError(operation["op"])


def patched(document: Document, operations: list[Document]) -> Document:
    changed = copy.deepcopy(document)
    for operation in operations:
        _carry_out(changed, operation)
    return changed
