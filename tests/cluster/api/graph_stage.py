"""Graphs on a real API server: an operator whose passes tests run, its view, and a kubelet that only says ready."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from dynamo_operator.kube import Client, Document, Gone, Kind, KubeError, Live, Ref
from dynamo_operator.kube.events import Notice
from dynamo_operator.kube.objects import GRAPH, POD
from dynamo_operator.reconcile import GraphController, Surroundings
from dynamo_operator.render import RenderContext

POD_SETTLES_S = 0.2
EVERYWHERE = RenderContext(namespace="")  # as an operator renders that serves all namespaces
DEADLINE_S = 60.0


class Snapshot:
    """The `Store` port over a list of everything in one namespace, taken when asked."""

    def __init__(self, kube: Client, kinds: Iterable[Kind], namespace: str) -> None:
        self._kube = kube
        self._kinds = tuple(kinds)
        self._namespace = namespace
        self._objects: dict[Ref, Live] = {}

    async def refresh(self) -> None:
        found: dict[Ref, Live] = {}
        for kind in self._kinds:
            try:
                found |= {live.ref: live for live in await self._kube.find(kind, self._namespace)}
            except Gone:
                continue  # not served here
        self._objects = found

    def get(self, ref: Ref) -> Live | None:
        return self._objects.get(ref)

    def controlled_by(self, uid: str) -> tuple[Live, ...]:
        return tuple(live for _, live in sorted(self._objects.items()) if live.controller_uid == uid)

    def find(self, kind: Kind, namespace: str = "", *, labels: Mapping[str, str] | None = None) -> tuple[Live, ...]:
        wanted = (labels or {}).items()
        return tuple(
            live
            for ref, live in sorted(self._objects.items())
            if ref.kind == kind and namespace in ("", ref.namespace) and wanted <= live.labels.items()
        )

    def uncontrolled(self, kind: Kind, namespace: str, labels: Mapping[str, str]) -> tuple[Live, ...]:
        return tuple(live for live in self.find(kind, namespace, labels=labels) if live.controller_uid is None)

    def first(self, kind: Kind, namespace: str, wanted: Callable[[Live], bool]) -> Live | None:
        return next((live for live in self.find(kind, namespace) if wanted(live)), None)


class Mortal:
    """The client as a process has it that ends right after its n-th write; `writes` lists those of all processes."""

    def __init__(self, kube: Client) -> None:
        self._kube = kube
        self.writes: list[str] = []
        self.reasons: list[str] = []
        self.left: int | None = None

    async def get(self, ref: Ref) -> Live | None:
        return await self._kube.get(ref)

    async def find(
        self, kind: Kind, namespace: str = "", *, labels: Mapping[str, str] | None = None, fields: str = ""
    ) -> tuple[Live, ...]:
        return await self._kube.find(kind, namespace, labels=labels, fields=fields)

    async def apply(self, document: Document, *, is_new: bool = False) -> Live:
        self._begin(f"apply {document['kind']} {document['metadata']['name']}")
        return await self._kube.apply(document, is_new=is_new)

    async def adopt(self, live: Live) -> Live:
        self._begin(f"adopt {live.ref}")
        return await self._kube.adopt(live)

    async def create(self, document: Document) -> Live:
        self._begin(f"create {document['kind']} {document['metadata']['name']}")
        return await self._kube.create(document)

    async def apply_status(self, document: Document) -> Live:
        self._begin(f"status {document['kind']} {document['metadata']['name']}")
        return await self._kube.apply_status(document)

    async def patch(self, ref: Ref, operations: list[dict[str, Any]], *, subresource: str = "") -> Live:
        self._begin(f"patch {ref}")
        return await self._kube.patch(ref, operations, subresource=subresource)

    async def delete(self, ref: Ref, *, uid: str, propagation: Any = "Background") -> None:
        self._begin(f"delete {ref}")
        await self._kube.delete(ref, uid=uid, propagation=propagation)

    async def record(self, notice: Notice) -> None:
        self.reasons.append(notice.reason)

    def _begin(self, write: str) -> None:
        if self.left == 0:
            raise Ended(write)
        self.left = None if self.left is None else self.left - 1
        self.writes.append(write)


class Ended(KubeError):
    """The process is no more."""


class Stage:
    """One namespace. `clock_s` is moved by every pass, so that no status waits to be written."""

    def __init__(self, kube: Client, namespace: str, context: RenderContext = EVERYWHERE) -> None:
        self.kube = kube
        self.namespace = namespace
        self._context = context
        self.mortal = Mortal(kube)
        self.store = Snapshot(kube, GraphController.watched_kinds, namespace)
        self.clock_s = 0.0
        self.restart()

    def restart(self) -> None:
        """A new process, without memory."""
        around = Surroundings(
            self.mortal,
            self.store,
            self._context,
            wall=lambda: datetime.now(UTC),
            monotonic=lambda: self.clock_s,
        )
        self._controller = GraphController(around, self)

    async def admitted(self, graph: Ref) -> frozenset[str] | None:
        """Frontends that know every ready pod."""
        pods = await self.kube.find(POD, graph.namespace)
        return frozenset(pod.ref.name for pod in pods if _is_ready(pod))

    async def pass_(self, name: str) -> None:
        await self.store.refresh()
        self.clock_s += 11
        await self._controller.reconcile(Ref(GRAPH, self.namespace, name))

    async def until(self, name: str, holds: Callable[[Stage], bool], *, writes_per_process: int | None = None) -> None:
        """Passes and ready pods by turns until `holds`; processes may be allowed only so many writes each."""
        async with asyncio.timeout(DEADLINE_S):
            while True:
                self.mortal.left = writes_per_process
                try:
                    await self.pass_(name)
                except Ended:
                    self.restart()
                    continue
                await self.make_ready()
                await self.store.refresh()
                if holds(self):
                    return
                await asyncio.sleep(POD_SETTLES_S)  # the real controllers' turn; the deadline is above

    async def make_ready(self) -> None:
        """Every pod becomes ready."""
        for pod in await self.kube.find(POD, self.namespace):
            if _is_ready(pod) or pod.is_terminating:
                continue
            status = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
            try:
                await self.kube.patch(
                    pod.ref, [{"op": "add", "path": "/status", "value": status}], subresource="status"
                )
            except KubeError:
                continue  # it went, or changed; the next turn sees

    def graph(self, name: str) -> Live | None:
        return self.store.get(Ref(GRAPH, self.namespace, name))

    def is_successful(self, name: str) -> bool:
        live = self.graph(name)
        status = (live.document.get("status") or {}) if live else {}
        return (
            live is not None
            and status.get("state") == "successful"
            and status.get("observedGeneration") == live.generation
        )

    def tree(self) -> dict[str, Any]:
        """Specs, labels and owners of everything here, without what differs between two runs."""
        found = {}
        for kind in GraphController.watched_kinds:
            for live in self.store.find(kind):
                if live.ref.name in ("default", "kube-root-ca.crt"):
                    continue  # every namespace has them
                metadata = live.document["metadata"]
                owners = [(each["kind"], each["name"]) for each in metadata.get("ownerReferences") or ()]
                spec = {k: v for k, v in live.document.items() if k not in ("metadata", "status")}
                found[str(live.ref)] = (dict(live.labels), owners, _addressless(spec))
        return found


def _is_ready(pod: Live) -> bool:
    conditions = (pod.document.get("status") or {}).get("conditions") or ()
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


def _addressless(value: Any) -> Any:
    """Without cluster addresses and namespaces' names, which no two runs share."""
    if isinstance(value, Mapping):
        return {k: _addressless(v) for k, v in value.items() if k not in ("clusterIP", "clusterIPs")}
    return [_addressless(each) for each in value] if isinstance(value, list) else value
