"""An API server and the watches' store in memory, with faults: the `Kube` and `Store` ports in one.

Keeps server-side apply's promises as far as the contract suite (tests/contract/kube.py) holds it and the real server to
them. Maps merge by key; lists are one value. It knows no schemas: it defaults nothing and refuses nothing as invalid.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Literal

from dynamo_operator.kube import Conflict, Deposed, Document, Gone, Invalid, Kind, KubeError, Live, Ref, ref_of
from dynamo_operator.kube.events import Notice, Recorder

Path = tuple[str, ...]
Moment = Literal["before", "after"]


@dataclass(frozen=True)
class Fault:
    """The next write to fail: before anything happened, or after it happened although nobody is told."""

    error: KubeError
    moment: Moment = "before"


class FakeKube:
    """`writes` lists what was sent, as (verb, reference); `faults` are used up in order, one a write; None passes."""

    def __init__(self) -> None:
        self.writes: list[tuple[str, Ref]] = []
        self.faults: list[Fault | None] = []
        self.is_deposed = False
        self._objects: dict[Ref, Live] = {}
        self._numbers = itertools.count(1)
        self._recorder = Recorder(self, clock=lambda: datetime.now(UTC))

    # What the port offers.

    async def get(self, ref: Ref) -> Live | None:
        return copy.deepcopy(self._objects.get(ref))

    async def find(
        self, kind: Kind, namespace: str = "", *, labels: Mapping[str, str] | None = None, fields: str = ""
    ) -> tuple[Live, ...]:
        return self.store.find(kind, namespace, labels=labels)

    async def apply(self, document: Document, *, is_new: bool = False) -> Live:
        ref = ref_of(document, "")
        return self._write("apply", ref, lambda: self._applied(ref, document, is_new=is_new))

    async def adopt(self, live: Live) -> Live:
        """Nothing here is upstream's."""
        found = await self.get(live.ref)
        if found is None or found.uid != live.uid:
            raise Conflict(f"{live.ref} is gone")
        return found

    async def apply_status(self, document: Document) -> Live:
        ref = ref_of(document, "")
        return self._write("apply_status", ref, lambda: self._with_status(ref, document))

    async def patch(self, ref: Ref, operations: list[dict[str, Any]], *, subresource: str = "") -> Live:
        return self._write("patch", ref, lambda: self._patched(ref, operations))

    async def delete(
        self, ref: Ref, *, uid: str, propagation: Literal["Background", "Foreground", "Orphan"] = "Background"
    ) -> None:
        def remove() -> None:
            live = self._objects.get(ref)
            if live is not None and live.uid == uid:
                del self._objects[ref]

        self._write("delete", ref, remove)

    async def record(self, notice: Notice) -> None:
        await self._recorder.record(notice)

    async def create(self, document: Document) -> Live:
        ref = ref_of(document, "")
        return self._write("create", ref, lambda: self._created(ref, document))

    async def merge(self, ref: Ref, change: Document) -> Live:
        return self._write("merge", ref, lambda: self._set(self._existing(ref), _merged(self._of(ref), change)))

    @property
    def store(self) -> FakeStore:
        return FakeStore(self._objects)

    # What others do to the cluster.

    def place(self, document: Document) -> Live:
        """Somebody else creates or replaces an object; nothing of it is ours."""
        ref = ref_of(document, "")
        return (
            self._set(replace(live, applied={}), document)
            if (live := self._objects.get(ref))
            else self._new(ref, document, {})
        )

    def remove(self, ref: Ref) -> None:
        del self._objects[ref]

    # How it is done.

    def _write(self, verb: str, ref: Ref, do: Any) -> Any:
        if self.is_deposed:
            raise Deposed("another process leads")
        fault = self.faults.pop(0) if self.faults else None
        if fault and fault.moment == "before":
            raise fault.error
        done = do()
        self.writes.append((verb, ref))
        if fault:
            raise fault.error
        return copy.deepcopy(done)

    def _of(self, ref: Ref) -> Document:
        return copy.deepcopy(dict(self._existing(ref).document))

    def _existing(self, ref: Ref) -> Live:
        if ref not in self._objects:
            raise Gone(f"{ref} not found")
        return self._objects[ref]

    def _created(self, ref: Ref, document: Document) -> Live:
        if ref in self._objects:
            raise Conflict(f"{ref} already exists")
        return self._new(ref, document, {})

    def _applied(self, ref: Ref, document: Document, *, is_new: bool) -> Live:
        hidden = ("name", "namespace", "resourceVersion", "uid")
        ours = {key: value for key, value in document.items() if key not in ("apiVersion", "kind")}
        ours["metadata"] = {k: v for k, v in document["metadata"].items() if k not in hidden}
        if not ours["metadata"]:
            del ours["metadata"]
        live = self._objects.get(ref)
        if is_new and live is not None:
            raise Conflict(f"{ref}: the object exists")
        if document["metadata"].get("uid") not in (None, live.uid if live else None):
            raise Conflict(f"{ref}: the uid is another one's")
        if document["metadata"].get("resourceVersion") not in (None, live.resource_version if live else None):
            raise Conflict(f"{ref}: the object has been modified")
        if live is None:
            return self._new(ref, document, ours)
        wanted, owned = dict(_leaves(ours)), dict(_leaves(live.applied))
        merged = _merged(_without(self._of(ref), owned.keys() - wanted.keys()), copy.deepcopy(ours))
        return self._set(replace(live, applied=ours), merged)

    def _with_status(self, ref: Ref, document: Document) -> Live:
        if self._existing(ref).uid != document["metadata"]["uid"]:
            raise Gone(f"{ref} is gone")
        return self._set(self._existing(ref), {**self._of(ref), "status": document["status"]})

    def _patched(self, ref: Ref, operations: list[dict[str, Any]]) -> Live:
        document = self._of(ref)
        for operation in operations:
            _operate(document, operation)
        live = self._existing(ref)
        if document["metadata"]["resourceVersion"] != live.resource_version:
            raise Conflict(f"{ref}: the object has been modified")
        return self._set(live, document)

    def _new(self, ref: Ref, document: Document, applied: Document) -> Live:
        uid = f"uid-{next(self._numbers)}"
        document = copy.deepcopy(document)
        document["metadata"].update(uid=uid, generation=1)
        return self._set(Live(ref, uid, 0, "", document, applied), document, is_spec_new=True)

    def _set(self, live: Live, document: Document, *, is_spec_new: bool = False) -> Live:
        """Nothing is written when nothing changes."""
        if not is_spec_new and document == live.document and self._objects.get(live.ref) == live:
            return live
        is_spec_new = is_spec_new or document.get("spec") != live.document.get("spec")
        version, generation = str(next(self._numbers)), live.generation + is_spec_new
        document["metadata"].update(resourceVersion=version, generation=generation, uid=live.uid)
        self._objects[live.ref] = replace(
            live,
            document=document,
            generation=generation,
            resource_version=version,
            applied=copy.deepcopy(live.applied),
        )
        return self._objects[live.ref]


class FakeStore:
    """The `Store` port over the same objects, never behind."""

    def __init__(self, objects: dict[Ref, Live]) -> None:
        self._objects = objects

    def get(self, ref: Ref) -> Live | None:
        return copy.deepcopy(self._objects.get(ref))

    def controlled_by(self, uid: str) -> tuple[Live, ...]:
        return tuple(copy.deepcopy(live) for _, live in sorted(self._objects.items()) if live.controller_uid == uid)

    def find(self, kind: Kind, namespace: str = "", *, labels: Mapping[str, str] | None = None) -> tuple[Live, ...]:
        return tuple(
            copy.deepcopy(live)
            for ref, live in sorted(self._objects.items())
            if ref.kind == kind and namespace in ("", ref.namespace) and (labels or {}).items() <= live.labels.items()
        )

    def uncontrolled(self, kind: Kind, namespace: str, labels: Mapping[str, str]) -> tuple[Live, ...]:
        return tuple(live for live in self.find(kind, namespace, labels=labels) if live.controller_uid is None)

    def first(self, kind: Kind, namespace: str, wanted: Callable[[Live], bool]) -> Live | None:
        return next((live for live in self.find(kind, namespace) if wanted(live)), None)


def _leaves(value: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    if isinstance(value, Mapping) and value:
        for key, beneath in value.items():
            yield from _leaves(beneath, (*path, key))
    elif path:
        yield path, value


def _merged(document: Document, change: Document) -> Document:
    for key, value in change.items():
        is_map = isinstance(value, dict) and isinstance(document.get(key), dict)
        document[key] = _merged(document[key], value) if is_map else value
    return document


def _without(document: Document, paths: Any) -> Document:
    for path in paths:
        holder: Any = document
        for key in path[:-1]:
            holder = holder.get(key, {})
        holder.pop(path[-1], None)
    return document


def _operate(document: Document, operation: dict[str, Any]) -> None:
    *way, last = [part.replace("~1", "/").replace("~0", "~") for part in operation["path"].split("/")[1:]]
    holder: Any = document
    for key in way:
        holder = holder.get(key) if isinstance(holder, dict) else holder[int(key)]
        if holder is None:
            raise Invalid(f"the path {operation['path']} does not exist")
    match operation["op"]:
        case "add":
            holder[last] = operation["value"]
        case "replace" if last in holder:
            holder[last] = operation["value"]
        case "remove" if last in holder:
            del holder[last]
        case "test" if holder.get(last) == operation["value"]:
            pass
        case verb:
            raise Invalid(f"{verb} {operation['path']}: not possible")
