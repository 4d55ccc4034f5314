"""The Kubernetes API over HTTP: reads, and writes that a fence can hold back until the last moment.

Duty: turn verbs on references and documents into requests, and every failure into one small error tree. It decides
nothing about what to write. lightkube supplies configuration, TLS and authentication; requests are made here because
its verbs cannot delete under a precondition, nor be fenced between connecting and sending.
Callers: the process's wiring; reconcilers and the lease through their own narrow ports.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Literal
from urllib.parse import quote, urlencode

import msgspec

from dynamo_operator.kube.answers import refusal
from dynamo_operator.kube.connections import Fence, Lost, NotSent, Request, Way
from dynamo_operator.kube.errors import Conflict, Gone, Invalid, KubeError, Throttled, Unreachable
from dynamo_operator.kube.events import Notice, Recorder
from dynamo_operator.kube.live import FIELD_MANAGER, adopted_fields, live_of
from dynamo_operator.kube.objects import SERVICE, Document, Kind, Live, Ref, ref_of
from dynamo_operator.kube.packed import Packed, pack

DEADLINE_S = 15.0  # an admission webhook may take 10 s of it
PAGE_SIZE = 500
TRIES = 3
# The API server hands out cluster IPs one after another, under a lock that it holds for a call to itself. Services that
# wait there time out, and time out again: seen with 60 at once on a busy server. Here they wait without a deadline.
NEW_SERVICES = 3
BACKOFF_S = 0.2
# No object has it: an empty etcd is at revision 1. An apply that names a version makes an object that is absent, and
# gives Conflict for one that is there. Without it, it would join an object of others that does not contradict it.
_VERSION_OF_NOTHING = "1"

_APPLY = "application/apply-patch+yaml"
_JSON_PATCH = "application/json-patch+json"
_MERGE_PATCH = "application/merge-patch+json"


def unfenced() -> None:
    """The fence of writes that no lease guards."""


class Client:
    """`fence` is called when the connection stands and a write is about to leave; it raises Deposed to hold it back.

    `on_written` hears what the API server answered to a write into an object: what we wrote is known at once, whatever
    the watches' delay. `deadline_s` bounds one call with all its tries.
    """

    def __init__(
        self,
        way: Way,
        *,
        fence: Fence = unfenced,
        on_written: Callable[[Packed], None] = lambda _: None,
        deadline_s: float = DEADLINE_S,
        tries: int = TRIES,
    ) -> None:
        self._way = way
        self._fence = fence
        self._on_written = on_written
        self._deadline_s = deadline_s
        self._tries = tries
        self._service_places = asyncio.Semaphore(NEW_SERVICES)
        self._recorder = Recorder(self, clock=lambda: datetime.now(UTC))

    async def get(self, ref: Ref) -> Live | None:
        try:
            return live_of(await self._call("GET", path_of(ref)), ref.kind)
        except Gone:
            return None

    async def find(
        self, kind: Kind, namespace: str = "", *, labels: Mapping[str, str] | None = None, fields: str = ""
    ) -> tuple[Live, ...]:
        """All objects of a kind; a kind that is not served gives Gone."""
        selector = ",".join(f"{name}={value}" for name, value in (labels or {}).items())
        query = {"limit": str(PAGE_SIZE), "labelSelector": selector, "fieldSelector": fields}
        found: list[Live] = []
        async for page in self._pages(collection_path(kind, namespace), query):
            found += [live_of(item, kind) for item in page]
        return tuple(found)

    async def apply(self, document: Document, *, is_new: bool = False) -> Live:
        if not is_new:
            return await self._apply(document)
        metadata = {**document["metadata"], "resourceVersion": _VERSION_OF_NOTHING}
        creation = {**document, "metadata": metadata}
        if document["kind"] != SERVICE.name:
            return await self._apply(creation)
        async with self._service_places:
            return await self._apply(creation)

    async def adopt(self, live: Live) -> Live:
        try:
            raw = await self._call("GET", path_of(live.ref))
        except Gone as error:
            raise Conflict(f"{live.ref} is gone") from error
        metadata = raw["metadata"]
        if metadata["uid"] != live.uid:
            raise Conflict(f"{live.ref} was replaced")
        adopted = adopted_fields(metadata.get("managedFields") or (), live.ref.kind.api_version)
        if adopted is None:
            return live_of(raw, live.ref.kind)
        operations = [
            {"op": "replace", "path": "/metadata/resourceVersion", "value": metadata["resourceVersion"]},
            {"op": "replace", "path": "/metadata/managedFields", "value": adopted},
        ]
        return await self.patch(live.ref, operations)

    async def apply_status(self, document: Document) -> Live:
        ref, uid = ref_of(document, ""), document["metadata"]["uid"]
        # Status subresources take any uid for the object's own, and an apply would give the status to a successor.
        operations = [
            {"op": "test", "path": "/metadata/uid", "value": uid},
            {"op": "add", "path": "/status", "value": document["status"]},
        ]
        try:
            return await self.patch(ref, operations, subresource="status")
        except Invalid:
            live = await self.get(ref)
            if live is None or live.uid != uid:
                raise Gone(f"{ref} with uid {uid} is gone") from None
            raise

    async def patch(self, ref: Ref, operations: list[dict[str, Any]], *, subresource: str = "") -> Live:
        answer = await self._call("PATCH", path_of(ref, subresource), _manager(), operations, _JSON_PATCH)
        return self._written(answer, ref.kind) if subresource in {"", "status"} else live_of(answer, ref.kind)

    async def merge(self, ref: Ref, change: Document) -> Live:
        """JSON merge patch (RFC 7386) of an object that is ours alone, such as an Event."""
        return live_of(await self._call("PATCH", path_of(ref), _manager(), change, _MERGE_PATCH), ref.kind)

    async def create(self, document: Document) -> Live:
        """Plain creation, for what is never applied again; an existing object gives Conflict."""
        ref = ref_of(document, "")
        answer = await self._call("POST", collection_path(ref.kind, ref.namespace), _manager(), document)
        return live_of(answer, ref.kind)

    async def delete(
        self, ref: Ref, *, uid: str, propagation: Literal["Background", "Foreground", "Orphan"] = "Background"
    ) -> None:
        """Delete exactly the object with this uid; one that is gone or replaced is left alone without an error."""
        body = {"propagationPolicy": propagation, "preconditions": {"uid": uid}}
        try:
            await self._call("DELETE", path_of(ref), body=body)
        except Gone:
            return
        except KubeError:
            live = await self.get(ref)
            if live is not None and live.uid == uid:
                raise

    async def record(self, notice: Notice) -> None:
        await self._recorder.record(notice)

    async def served(self) -> frozenset[tuple[str, str]]:
        """(apiVersion, kind) of everything that the API server serves, in two calls (aggregated discovery)."""
        accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
        answers = [await self._call("GET", path, accept=accept) for path in ("/api", "/apis")]
        return frozenset(
            (_api_version(group, version), resource["responseKind"]["kind"])
            for answer in answers
            for group in answer.get("items") or ()
            for version in group.get("versions") or ()
            for resource in version.get("resources") or ()
            if resource.get("responseKind")
        )

    async def close(self) -> None:
        await self._way.close()

    async def _apply(self, document: Document) -> Live:
        ref = ref_of(document, "")
        query = {**_manager(), "force": "true"}
        return self._written(await self._call("PATCH", path_of(ref), query, document, _APPLY), ref.kind)

    def _written(self, answer: Document, kind: Kind) -> Live:
        self._on_written(pack(answer, kind))
        return live_of(answer, kind)

    async def _pages(self, path: str, query: dict[str, str]) -> AsyncIterator[list[dict[str, Any]]]:
        position = ""
        while True:
            answer = await self._call("GET", path, {**query, "continue": position})
            yield answer.get("items") or []
            position = (answer.get("metadata") or {}).get("continue") or ""
            if not position:
                return

    async def _call(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: Any = None,
        content_type: str = "application/json",
        accept: str = "application/json",
    ) -> Any:
        asked = urlencode({name: value for name, value in (query or {}).items() if value})
        request = Request(
            method,
            f"{quote(path)}?{asked}" if asked else quote(path),
            None if body is None else msgspec.json.encode(body),
            content_type,
            accept,
        )
        try:
            async with asyncio.timeout(self._deadline_s):
                return await self._persist(request)
        except TimeoutError as error:
            raise Unreachable(f"{method} {path}: no answer within {self._deadline_s:g} s") from error

    async def _persist(self, request: Request) -> Any:
        """Try again only what cannot have arrived, what the server turned away unread, and reads."""
        for attempt in range(1, self._tries + 1):
            is_last = attempt == self._tries
            try:
                return await self._send(request)
            except Throttled as error:
                if is_last or error.retry_after_s > self._deadline_s / 2:
                    raise
                await asyncio.sleep(error.retry_after_s)
            except NotSent as error:
                if is_last:
                    raise _unreachable(request, error) from error
                await asyncio.sleep(BACKOFF_S * attempt * (1 + random.random()))  # noqa: S311  spreads retries
            except Lost as error:
                if is_last or request.method != "GET":
                    raise _unreachable(request, error) from error
        raise AssertionError("the last try returns or raises")

    async def _send(self, request: Request) -> Any:
        answer = await self._way.send(request, unfenced if request.method == "GET" else self._fence)
        if answer.code >= 400:
            raise refusal(answer.code, answer.body, answer.headers)
        try:
            return msgspec.json.decode(answer.body)
        except msgspec.DecodeError as error:
            raise _unreachable(request, f"the answer is no JSON: {error}") from error


def collection_path(kind: Kind, namespace: str) -> str:
    root = f"/apis/{kind.group}/{kind.version}" if kind.group else f"/api/{kind.version}"
    return f"{root}/namespaces/{namespace}/{kind.plural}" if namespace else f"{root}/{kind.plural}"


def path_of(ref: Ref, subresource: str = "") -> str:
    path = f"{collection_path(ref.kind, ref.namespace)}/{ref.name}"
    return f"{path}/{subresource}" if subresource else path


def _manager() -> dict[str, str]:
    return {"fieldManager": FIELD_MANAGER}


def _api_version(group: Mapping[str, Any], version: Mapping[str, Any]) -> str:
    name = group["metadata"].get("name") or ""
    return f"{name}/{version['version']}" if name else str(version["version"])


def _unreachable(request: Request, why: object) -> Unreachable:
    return Unreachable(f"{request.method} {request.path.partition('?')[0]}: {why}")
