"""A cluster in memory that also does what controllers and kubelets do: garbage collection, Deployments that run pods.

The API server's part is `tests.fakes.kube`. Nothing happens by itself: tests call `collect`, `run_pods`, `make_ready`.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from dynamo_operator.kube import Document, Invalid, Kind, KubeError, Live, Ref, ref_of
from dynamo_operator.kube.events import Notice
from dynamo_operator.kube.objects import DEPLOYMENT
from tests.fakes.kube import FakeKube

Crashing = Callable[[int, str], None]
_SERVER_SET = ("uid", "generation", "resourceVersion", "creationTimestamp")


def no_crash(number: int, moment: str) -> None:
    """Writes succeed."""


@dataclass
class Pod:
    """One pod: the template that made it, whether it serves."""

    name: str
    template: str
    is_ready: bool = False


class World(FakeKube):
    """`crashing` is called before and after every write, and may raise. `calls` lists all that was sent."""

    def __init__(self) -> None:
        super().__init__()
        self.pods: dict[Ref, list[Pod]] = {}
        self.happened: list[Notice] = []
        self.calls: list[str] = []
        self.crashing: Crashing = no_crash
        self.sent = 0

    @property
    def objects(self) -> dict[Ref, Live]:
        return self._objects

    async def get(self, ref: Ref) -> Live | None:  # type: ignore[override]
        self.calls.append(f"get {ref}")
        return self._objects.get(ref)

    async def find(
        self, kind: Kind, namespace: str = "", *, labels: Mapping[str, str] | None = None, fields: str = ""
    ) -> tuple[Live, ...]:
        self.calls.append(f"find {kind.name}")
        return self.seen(kind, namespace, labels=labels)

    async def record(self, notice: Notice) -> None:
        self.calls.append(f"event {notice.reason}")
        self.happened.append(notice)

    def seen(self, kind: Kind, namespace: str = "", *, labels: Mapping[str, str] | None = None) -> tuple[Live, ...]:
        return tuple(
            live
            for ref, live in sorted(self._objects.items())
            if ref.kind == kind and namespace in ("", ref.namespace) and (labels or {}).items() <= live.labels.items()
        )

    # What users and other controllers do.

    def put(self, document: Document, *, namespace: str = "ns") -> Live:
        """Create or replace as a user does; a replaced object keeps owners, status, and what is still as we set it."""
        ref = ref_of(document, namespace)
        placed = {
            **copy.deepcopy(document),
            "metadata": {**copy.deepcopy(document["metadata"]), "namespace": namespace},
        }
        old = self._objects.get(ref)
        if old is None:
            return self._new(ref, placed, {})
        for key in ("ownerReferences", *_SERVER_SET):
            if key in old.document["metadata"]:
                placed["metadata"].setdefault(key, old.document["metadata"][key])
        if "status" in old.document:
            placed["status"] = old.document["status"]
        return self._set(replace(old, applied=_owned_still(old.applied, placed)), placed)

    def edit(self, ref: Ref, change: Callable[[Document], object]) -> Live:
        """Change a live object as `kubectl edit` does; fields that change are no longer ours."""
        old = self._objects[ref]
        document = copy.deepcopy(dict(old.document))
        change(document)
        return self._set(replace(old, applied=_owned_still(old.applied, document)), document)

    def drop(self, ref: Ref) -> None:
        """Delete as a user does."""
        del self._objects[ref]

    def collect(self) -> None:
        """Garbage collection: what is controlled by an owner that is gone, goes, and what that controls."""
        while True:
            uids = {live.uid for live in self._objects.values()}
            owned = [(ref, live.controller_uid) for ref, live in self._objects.items() if live.controller_uid]
            gone = [ref for ref, owner in owned if owner not in uids]
            if not gone:
                return
            for ref in gone:
                del self._objects[ref]
                self.pods.pop(ref, None)

    def run_pods(self) -> None:
        """Every Deployment gets to its replicas; unready pods end first, pods of an old template are made anew."""
        for ref, live in list(self._objects.items()):
            if ref.kind == DEPLOYMENT:
                self._run(ref, live)
        for ref in [ref for ref in self.pods if ref not in self._objects]:
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
        return {str(ref): _timeless(live.document) for ref, live in sorted(self._objects.items())}

    def _write(self, verb: str, ref: Ref, do: Any) -> Any:
        self.sent += 1
        number = self.sent
        self.crashing(number, "before")
        self.calls.append(f"{verb} {ref}")
        done = super()._write(verb, ref, do)
        self.crashing(number, "after")
        return done

    def _applied(self, ref: Ref, document: Document, *, is_new: bool) -> Live:
        assert ref.namespace, "an apply names its namespace"
        for owner in document["metadata"].get("ownerReferences") or ():
            if not owner.get("uid"):
                raise Invalid("metadata.ownerReferences.uid: Required value")
        return super()._applied(ref, document, is_new=is_new)

    def _new(self, ref: Ref, document: Document, applied: Document) -> Live:
        document = copy.deepcopy(document)
        document["metadata"]["creationTimestamp"] = f"T{next(self._numbers):09}"
        return super()._new(ref, document, applied)

    def _run(self, ref: Ref, live: Live) -> None:
        pods = self.pods.setdefault(ref, [])
        template = repr(_sorted(live.document["spec"]["template"]))
        wanted = live.document["spec"].get("replicas", 1)
        for pod in [pod for pod in pods if pod.template != template]:
            pods.remove(pod)  # as quick as a rollout in place can be; how it does it is the Deployment's business
        pods.sort(key=lambda pod: not pod.is_ready)
        del pods[wanted:]
        while len(pods) < wanted:
            pods.append(Pod(f"{ref.name}-{next(self._numbers)}", template))
        self._report(ref)

    def _report(self, ref: Ref) -> None:
        live = self._objects.get(ref)
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
        self._set(live, {**copy.deepcopy(dict(live.document)), "status": status})


class View:
    """The `Store` port over a world; a class of its own because both ports have a `get`.

    `pinned` objects are shown as they once were: their watch lags.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self.pinned: Mapping[Ref, Live] = {}

    def get(self, ref: Ref) -> Live | None:
        return self.pinned.get(ref) or self._world.objects.get(ref)

    def controlled_by(self, uid: str) -> tuple[Live, ...]:
        return tuple(live for _, live in sorted(self._world.objects.items()) if live.controller_uid == uid)

    def find(self, kind: Kind, namespace: str = "", *, labels: Mapping[str, str] | None = None) -> tuple[Live, ...]:
        return self._world.seen(kind, namespace, labels=labels)

    def uncontrolled(self, kind: Kind, namespace: str, labels: Mapping[str, str]) -> tuple[Live, ...]:
        return tuple(live for live in self.find(kind, namespace, labels=labels) if live.controller_uid is None)

    def first(self, kind: Kind, namespace: str, wanted: Callable[[Live], bool]) -> Live | None:
        return next((live for live in self.find(kind, namespace) if wanted(live)), None)


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


def crash_at(point: int, moment: str) -> Crashing:
    """Ends the process, so to say, before or after the n-th write."""

    def crash(number: int, when: str) -> None:
        if (number, when) == (point, moment):
            raise Crash(f"{moment} write {point}")

    return crash


class Crash(KubeError):
    """The operator ends here."""


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
    hidden = (*_SERVER_SET, "lastTransitionTime", "startTime", "endTime")
    if isinstance(value, Mapping):
        return {key: _timeless(inner) for key, inner in value.items() if key not in hidden}
    return [_timeless(inner) for inner in value] if isinstance(value, list) else value


def _sorted(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _sorted(value[key]) for key in sorted(value)}
    return [_sorted(inner) for inner in value] if isinstance(value, list) else value
