"""A small cluster in memory: the API server's rules that reconcilers depend on, and Deployments that run pods.

Server-side apply by one manager, uids, generations, garbage collection, uid preconditions. Nothing happens by itself:
`collect`, `run_pods` and `make_ready` are what controllers and kubelets would do.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from dynamo_operator.kube import Conflict, Document, Gone, Invalid, Kind, KubeError, Live, Ref, ref_of
from dynamo_operator.kube.objects import DEPLOYMENT
from dynamo_operator.reconcile import Happening

Fault = Callable[[int, str], None]


def no_fault(number: int, moment: str) -> None:
    """Writes succeed."""


@dataclass
class Pod:
    """One pod: the template that made it, whether it serves."""

    name: str
    template: str
    is_ready: bool = False


@dataclass
class World:
    """Implements the reconcilers' `Kube` and `Store`. `fault` is called before and after every write, and may raise."""

    objects: dict[Ref, Live] = field(default_factory=dict)
    pods: dict[Ref, list[Pod]] = field(default_factory=dict)
    events: list[Happening] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)
    fault: Fault = no_fault
    numbers: Any = field(default_factory=lambda: itertools.count(1))
    writes: int = 0

    # The API server's verbs.

    async def get(self, ref: Ref) -> Live | None:
        self.calls.append(f"get {ref}")
        return self.objects.get(ref)

    async def find(
        self, kind: Kind, namespace: str = "", *, labels: Mapping[str, str] | None = None, fields: str = ""
    ) -> tuple[Live, ...]:
        self.calls.append(f"find {kind.name}")
        return self.seen(kind, namespace, labels=labels)

    async def apply(self, document: Document, *, is_new: bool = False) -> Live:
        return self._write(
            f"apply {document['kind']} {document['metadata']['name']}", lambda: self._apply(document, is_new)
        )

    async def apply_status(self, document: Document) -> Live:
        return self._write(f"status {document['kind']} {document['metadata']['name']}", lambda: self._status(document))

    async def patch(self, ref: Ref, operations: list[dict[str, Any]], *, subresource: str = "") -> Live:
        return self._write(f"patch {ref}", lambda: self._patch(ref, operations))

    async def delete(
        self, ref: Ref, *, uid: str, propagation: Literal["Background", "Foreground", "Orphan"] = "Background"
    ) -> None:
        self._write(f"delete {ref}", lambda: self._delete(ref, uid))

    async def record(self, happening: Happening) -> None:
        self.calls.append(f"event {happening.reason}")
        self.events.append(happening)

    # The store's view of the same; it never lags here.

    def seen(self, kind: Kind, namespace: str = "", *, labels: Mapping[str, str] | None = None) -> tuple[Live, ...]:
        return tuple(
            live
            for ref, live in sorted(self.objects.items())
            if ref.kind == kind
            and namespace in ("", ref.namespace)
            and all(live.labels.get(name) == value for name, value in (labels or {}).items())
        )

    # What users and other controllers do.

    def put(self, document: Document, *, namespace: str = "ns") -> Live:
        """Create or replace as some user does; a replaced object keeps uid, owners and status, and what we applied."""
        ref = ref_of(document, namespace)
        old = self.objects.get(ref)
        if old is None:
            return self._store_new(ref, copy.deepcopy(document), applied={})
        kept = {key: old.document["metadata"][key] for key in ("ownerReferences",) if key in old.document["metadata"]}
        merged = copy.deepcopy(document)
        merged["metadata"] = {**kept, **merged["metadata"]}
        if "status" in old.document:
            merged["status"] = old.document["status"]
        return self._replace(old, merged, _owned_still(old.applied, merged))

    def edit(self, ref: Ref, change: Callable[[Document], None]) -> Live:
        """Change a live object as `kubectl edit` does; fields that change are no longer ours."""
        old = self.objects[ref]
        document = copy.deepcopy(dict(old.document))
        change(document)
        return self._replace(old, document, _owned_still(old.applied, document))

    def drop(self, ref: Ref) -> None:
        """Delete as a user does."""
        del self.objects[ref]

    def collect(self) -> None:
        """Garbage collection: what is controlled by an owner that is gone, goes, and what that controls."""
        while True:
            uids = {live.uid for live in self.objects.values()}
            owned = [(ref, live.controller_uid) for ref, live in self.objects.items() if live.controller_uid]
            gone = [ref for ref, owner in owned if owner not in uids]
            if not gone:
                return
            for ref in gone:
                del self.objects[ref]
                self.pods.pop(ref, None)

    def run_pods(self) -> None:
        """Every Deployment gets to its replicas; unready pods end first, pods of an old template are made anew."""
        for ref, live in list(self.objects.items()):
            if ref.kind == DEPLOYMENT:
                self._run(ref, live)
        for ref in [ref for ref in self.pods if ref not in self.objects]:
            del self.pods[ref]

    def make_ready(
        self, wanted: Callable[[Ref, Pod], bool] = lambda _ref, _pod: True, *, is_ready: bool = True
    ) -> None:
        """Let pods become ready, or unready."""
        for ref, pods in self.pods.items():
            for pod in pods:
                if wanted(ref, pod):
                    pod.is_ready = is_ready
        for ref in self.pods:
            self._report(ref)

    def ready(self, ref: Ref) -> int:
        return sum(pod.is_ready for pod in self.pods.get(ref, ()))

    def tree(self) -> dict[str, Document]:
        """All objects without what differs between two runs: uids, versions, times."""
        return {str(ref): _timeless(live.document) for ref, live in sorted(self.objects.items())}

    def _write(self, call: str, act: Callable[[], Any]) -> Any:
        self.writes += 1
        number = self.writes
        self.fault(number, "before")
        self.calls.append(call)
        result = act()
        self.fault(number, "after")
        return result

    def _apply(self, document: Document, is_new: bool) -> Live:
        ref = ref_of(document, "")
        assert ref.namespace, "an apply names its namespace"
        for owner in document["metadata"].get("ownerReferences") or ():
            if not owner.get("uid"):
                raise Invalid("metadata.ownerReferences.uid: Required value")
        old = self.objects.get(ref)
        applied = {key: copy.deepcopy(value) for key, value in document.items() if key != "status"}
        if old is None:
            return self._store_new(ref, copy.deepcopy(document), applied)
        if is_new and not old.applied:
            raise Conflict(f"{ref} exists")
        merged = _merged(_without(old.document, old.applied, document), document)
        return self._replace(old, merged, applied)

    def _status(self, document: Document) -> Live:
        ref = ref_of(document, "")
        old = self.objects.get(ref)
        if old is None:
            raise Gone(f"{ref} not found")
        if document["metadata"].get("uid", old.uid) != old.uid:
            raise Conflict("uid mismatch")
        return self._replace(old, {**old.document, "status": copy.deepcopy(document["status"])}, old.applied)

    def _patch(self, ref: Ref, operations: list[dict[str, Any]]) -> Live:
        old = self.objects.get(ref)
        if old is None:
            raise Gone(f"{ref} not found")
        document = copy.deepcopy(dict(old.document))
        document["metadata"] = {**document["metadata"], "resourceVersion": old.resource_version}
        for operation in operations:
            *path, last = [part.replace("~1", "/").replace("~0", "~") for part in operation["path"].split("/")[1:]]
            target: Any = document
            for part in path:
                target = target[int(part)] if isinstance(target, list) else target[part]
            if operation["op"] == "test":
                if target.get(last) != operation["value"]:
                    raise Invalid("the test operation failed")
            else:
                target[last] = operation["value"]
        del document["metadata"]["resourceVersion"]
        return self._replace(old, document, old.applied)

    def _delete(self, ref: Ref, uid: str) -> None:
        live = self.objects.get(ref)
        if live is not None and live.uid == uid:
            del self.objects[ref]

    def _store_new(self, ref: Ref, document: Document, applied: Mapping[str, Any]) -> Live:
        version = next(self.numbers)
        metadata = {**document["metadata"], "namespace": ref.namespace, "creationTimestamp": f"T{version:09}"}
        live = Live(ref, f"uid-{version}", 1, str(version), {**document, "metadata": metadata}, applied)
        self.objects[ref] = live
        return live

    def _replace(self, old: Live, document: Document, applied: Mapping[str, Any]) -> Live:
        metadata = {**document["metadata"], "namespace": old.ref.namespace}
        metadata["creationTimestamp"] = old.document["metadata"]["creationTimestamp"]
        document = {**document, "metadata": metadata}
        if document == old.document and applied == old.applied:
            return old
        spec = {key: value for key, value in document.items() if key not in ("metadata", "status")}
        before = {key: value for key, value in old.document.items() if key not in ("metadata", "status")}
        generation = old.generation + (spec != before)
        live = Live(old.ref, old.uid, generation, str(next(self.numbers)), document, applied)
        self.objects[old.ref] = live
        return live

    def _run(self, ref: Ref, live: Live) -> None:
        pods = self.pods.setdefault(ref, [])
        template = repr(_sorted(live.document["spec"]["template"]))
        wanted = live.document["spec"].get("replicas", 1)
        for pod in [pod for pod in pods if pod.template != template]:
            pods.remove(pod)  # as quick as a rollout in place can be; how it does it is the Deployment's business
        pods.sort(key=lambda pod: not pod.is_ready)
        del pods[wanted:]
        while len(pods) < wanted:
            pods.append(Pod(f"{ref.name}-{next(self.numbers)}", template))
        self._report(ref)

    def _report(self, ref: Ref) -> None:
        live = self.objects.get(ref)
        if live is None:
            return
        pods = self.pods[ref]
        ready = sum(pod.is_ready for pod in pods)
        is_available = ready >= live.document["spec"].get("replicas", 1)
        status = {
            "observedGeneration": live.generation,
            "replicas": len(pods),
            "updatedReplicas": len(pods),
            "readyReplicas": ready,
            "availableReplicas": ready,
            "conditions": [{"type": "Available", "status": "True" if is_available else "False"}],
        }
        self._replace(live, {**live.document, "status": status}, live.applied)


class View:
    """The `Store` port over a world; a class of its own because both ports have a `get`."""

    def __init__(self, world: World) -> None:
        self._world = world

    def get(self, ref: Ref) -> Live | None:
        return self._world.objects.get(ref)

    def controlled_by(self, uid: str) -> tuple[Live, ...]:
        return tuple(live for _, live in sorted(self._world.objects.items()) if live.controller_uid == uid)

    def find(self, kind: Kind, namespace: str = "", *, labels: Mapping[str, str] | None = None) -> tuple[Live, ...]:
        return self._world.seen(kind, namespace, labels=labels)


class Admitting:
    """Frontends that know every ready pod, except those whose Deployment is in `unknown`; none answer when `silent`."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.unknown: set[str] = set()
        self.is_silent = False

    async def admitted(self, graph: Ref) -> frozenset[str] | None:
        if self.is_silent:
            return None
        return frozenset(
            pod.name
            for ref, pods in self._world.pods.items()
            for pod in pods
            if pod.is_ready and ref.name not in self.unknown
        )


def crash_at(point: int, moment: str) -> Fault:
    """Ends the process, so to say, before or after the n-th write."""

    def fault(number: int, when: str) -> None:
        if number == point and when == moment:
            raise Crash(f"{moment} write {point}")

    return fault


class Crash(KubeError):
    """The operator ends here."""


def _without(document: Mapping[str, Any], applied: Mapping[str, Any], wanted: Mapping[str, Any]) -> Document:
    """What we applied before and no longer want is removed."""
    kept: Document = {}
    for key, value in document.items():
        if key in applied and key not in wanted:
            if isinstance(value, Mapping) and isinstance(applied[key], Mapping):
                rest = _without(value, applied[key], {})
                if rest:
                    kept[key] = rest
            continue
        if (
            isinstance(value, Mapping)
            and isinstance(applied.get(key), Mapping)
            and isinstance(wanted.get(key), Mapping)
        ):
            kept[key] = _without(value, applied[key], wanted[key])
        else:
            kept[key] = value
    return kept


def _merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> Document:
    merged = dict(base)
    for key, value in over.items():
        both = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = _merged(merged[key], value) if both else copy.deepcopy(value)
    return merged


def _owned_still(applied: Mapping[str, Any], document: Mapping[str, Any]) -> Document:
    """Of what we applied, the part that is unchanged in `document`."""
    kept: Document = {}
    for key, value in applied.items():
        if isinstance(value, Mapping) and isinstance(document.get(key), Mapping):
            kept[key] = _owned_still(value, document[key])
        elif key in document and document[key] == value:
            kept[key] = value
    return kept


def _timeless(value: Any) -> Any:
    hidden = ("uid", "creationTimestamp", "lastTransitionTime", "startTime", "endTime")
    if isinstance(value, Mapping):
        return {key: _timeless(inner) for key, inner in value.items() if key not in hidden}
    return [_timeless(inner) for inner in value] if isinstance(value, list) else value


def _sorted(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _sorted(value[key]) for key in sorted(value)}
    return [_sorted(inner) for inner in value] if isinstance(value, list) else value
