"""Manifests through everything that a cluster does with them: kubectl, webhooks, the operator's passes, read back.

Duty: apply graphs of one pathway in namespaces of their own, let the operator's controllers work until they have
nothing left to write and the cluster's controllers have seen it, and hand out what is there then. Must not compare or
judge.
Callers: tests of the corpus.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

from dynamo_operator.handlers.facts import admission_facts, is_served, render_context
from dynamo_operator.handlers.settings import Settings
from dynamo_operator.handlers.store import LiveStore
from dynamo_operator.kube import Client, Connections, Live, Ref, Request, Way, find_access, pack, unfenced
from dynamo_operator.kube.client import collection_path
from dynamo_operator.kube.objects import DEPLOYMENT, GRAPH, POD
from dynamo_operator.reconcile import (
    ComponentDeploymentController,
    GraphController,
    ScalingAdapterController,
    Surroundings,
)
from tests.cluster.access import Access
from tests.cluster.api.graph_stage import Mortal
from tests.cluster.api.webhook.running import Facts

Document = dict[str, Any]

SETTLES_S = 0.2
DEADLINE_S = 300.0
CALL_TIMEOUT_S = 30.0
AT_ONCE = 8
LIST_TRIES = 20
_SET_BY_SERVERS = ("uid", "resourceVersion", "creationTimestamp", "generation", "managedFields")
_SET_BY_CLIENTS = ("kubectl.kubernetes.io/last-applied-configuration", "deployment.kubernetes.io/revision")
_OF_THE_NAMESPACE = ("default", "kube-root-ca.crt")
_REPORTING = ("DynamoGraphDeployment", "DynamoComponentDeployment", "DynamoGraphDeploymentScalingAdapter")


@dataclass(frozen=True)
class Kept:
    """What one manifest has become: all objects of its namespace, and the graph as each API version shows it."""

    objects: tuple[Document, ...]
    versions: Mapping[str, Document]

    @property
    def graph(self) -> Document:
        (found,) = (each for each in self.objects if each["kind"] == GRAPH.name)
        return found


class EveryoneAdmits:
    """Frontends that know every ready pod."""

    def __init__(self, kube: Client) -> None:
        self._kube = kube

    async def admitted(self, graph: Ref) -> frozenset[str] | None:
        pods = await self._kube.find(POD, graph.namespace)
        return frozenset(pod.ref.name for pod in pods if _is_ready(pod))


class Run:
    """The operator over all graphs of one cluster, as it is served at this moment. Use within `async with`."""

    def __init__(self, access: Access, facts: Facts, settings: Settings, way: Way) -> None:
        self._access = access
        self._facts = facts
        self._settings = settings
        self._way = way
        self.kube = Client(way, deadline_s=CALL_TIMEOUT_S)
        self.clock_s = 0.0

    async def begin(self) -> None:
        """Looks at what the cluster serves, as the process does at its start."""
        served = await self.kube.served()
        self._facts.cluster = admission_facts(self._settings, served)
        self.mortal = Mortal(self.kube)
        self.store = LiveStore()
        around = Surroundings(
            self.mortal,
            self.store,
            render_context(self._settings, served),
            wall=lambda: datetime.now(UTC),
            monotonic=lambda: self.clock_s,
        )
        self._controllers = (
            GraphController(around, EveryoneAdmits(self.kube)),
            ComponentDeploymentController(around),
            ScalingAdapterController(around),
        )
        watched = (kind for controller in self._controllers for kind in controller.watched_kinds)
        self.kinds = [kind for kind in dict.fromkeys(watched) if is_served(kind, served)]

    def apply(self, manifests: Mapping[str, Iterable[Document]]) -> None:
        """One `kubectl apply` of everything, each manifest in the namespace that is its key."""
        self._access.apply(*({**_NAMESPACE, "metadata": {"name": name}} for name in manifests))
        placed = [
            {**document, "metadata": {**document["metadata"], "namespace": namespace}}
            for namespace, documents in manifests.items()
            for document in documents
        ]
        if placed:
            listed = json.dumps({"apiVersion": "v1", "kind": "List", "items": placed})
            self._access.kubectl("apply", "-f", "-", stdin=listed, timeout_s=DEADLINE_S)

    async def settle(self, namespaces: Iterable[str]) -> None:
        """Passes over these graphs until one round writes nothing, and Deployments have been acted upon."""
        wanted = frozenset(namespaces)
        async with self._deadline():
            while True:
                has_written = await self._round(wanted)
                deployments = [each for each in self.store.find(DEPLOYMENT) if each.ref.namespace in wanted]
                if not has_written and all(_is_observed(each) for each in deployments):
                    return
                await asyncio.sleep(SETTLES_S)  # the real controllers' turn; the deadline is above

    async def make_ready(self, namespaces: Iterable[str]) -> None:
        """Every pod becomes ready, until every Deployment says so; then the operator settles."""
        wanted = frozenset(namespaces)
        async with asyncio.timeout(DEADLINE_S):
            while True:
                pods = [each for each in await self.kube.find(POD) if each.ref.namespace in wanted]
                await _all_at_once(self._say_ready(each) for each in pods if not _is_ready(each))
                await self._round(wanted)
                deployments = [each for each in self.store.find(DEPLOYMENT) if each.ref.namespace in wanted]
                if all(_is_available(each) for each in deployments):
                    break
                await asyncio.sleep(SETTLES_S)
        await self.settle(wanted)

    @contextlib.asynccontextmanager
    async def _deadline(self) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(DEADLINE_S):
                yield
        except TimeoutError:
            raise AssertionError(f"no rest within {DEADLINE_S:.0f} s; last: {self.mortal.writes[-3:]}") from None

    async def rewritten(self, namespaces: Iterable[str]) -> tuple[str, ...]:
        """What a new process would write first, that finds these graphs as this one left them."""
        successor = Run(self._access, self._facts, self._settings, self._way)
        await successor.begin()
        await successor._round(frozenset(namespaces))
        return tuple(successor.mortal.writes)

    async def kept(self, namespace: str) -> Kept:
        """Everything in a namespace without what differs between two runs; the store has to be fresh."""
        found = [
            live
            for kind in self.kinds
            for live in self.store.find(kind, namespace)
            if live.ref.name not in _OF_THE_NAMESPACE
        ]
        (graph,) = (live.ref for live in found if live.ref.kind == GRAPH)
        versions = {}
        for version in ("v1alpha1", "v1beta1"):
            kind = replace(GRAPH, version=version)
            live = await self.kube.get(replace(graph, kind=kind))
            assert live is not None
            versions[kind.api_version] = plain(live.document, namespace)
        return Kept(tuple(plain(live.document, namespace) for live in found), versions)

    async def _round(self, namespaces: frozenset[str]) -> bool:
        await self._look()
        self.clock_s += 11
        before = len(self.mortal.writes)
        for controller in self._controllers:
            roots = [each.ref for each in self.store.find(controller.root_kind) if each.ref.namespace in namespaces]
            await _all_at_once(controller.reconcile(root) for root in roots)
        return len(self.mortal.writes) > before

    async def _look(self) -> None:
        for kind in self.kinds:
            answer = await self._listed(collection_path(kind, ""))
            raw = {"apiVersion": kind.api_version, "kind": kind.name}
            listed = [pack({**raw, **item}, kind) for item in answer["items"]]
            self.store.replace(kind, "", listed, int(answer["metadata"]["resourceVersion"]))

    async def _listed(self, path: str) -> Document:
        for _ in range(LIST_TRIES):
            answer = await self._way.send(Request("GET", path), unfenced)
            if answer.code != HTTPStatus.TOO_MANY_REQUESTS:
                break
            await asyncio.sleep(float(answer.headers.get("Retry-After", 1)))  # a kind just installed: its store opens
        assert answer.code == HTTPStatus.OK, answer.body[:1000]
        found: Document = json.loads(answer.body)
        return found

    async def _say_ready(self, pod: Live) -> None:
        status = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
        await self.kube.patch(pod.ref, [{"op": "add", "path": "/status", "value": status}], subresource="status")


def way_to(access: Access) -> Connections:
    return Connections(find_access(access.kubeconfig), timeout_s=CALL_TIMEOUT_S)


def plain(document: Mapping[str, Any], namespace: str) -> Document:
    """An object as one operator's work compares with another's: no identities, times and addresses of one cluster."""
    text = json.dumps(document).replace(namespace, "NAMESPACE")
    found: Document = json.loads(text)
    metadata = {key: value for key, value in found["metadata"].items() if key not in _SET_BY_SERVERS}
    metadata.pop("namespace", None)
    metadata["annotations"] = {
        key: value for key, value in (metadata.get("annotations") or {}).items() if key not in _SET_BY_CLIENTS
    }
    for owner in metadata.get("ownerReferences", []):
        del owner["uid"]
    found["metadata"] = metadata
    if found["kind"] in _REPORTING and "status" in found:
        found["status"] = plain_status(found["status"])
    elif found["kind"] not in _REPORTING:
        found.pop("status", None)
    if found["kind"] == "Service" and found["spec"].get("clusterIP") != "None":
        del found["spec"]["clusterIP"], found["spec"]["clusterIPs"]
    return found


def plain_status(status: Document) -> Document:
    """Conditions by type, without times and with generations reduced to whether one is told: no two runs share them."""
    conditions = {each["type"]: each for each in status.get("conditions", [])}
    for place in (status, *conditions.values()):
        place.pop("lastTransitionTime", None)
        if "observedGeneration" in place:
            place["observedGeneration"] = "told"
    return {**status, "conditions": conditions}


_NAMESPACE = {"apiVersion": "v1", "kind": "Namespace"}


async def _all_at_once(coroutines: Iterable[Any]) -> None:
    turns = asyncio.Semaphore(AT_ONCE)

    async def take_turn(coroutine: Any) -> None:
        async with turns:
            await coroutine

    async with asyncio.TaskGroup() as tasks:
        for coroutine in coroutines:
            tasks.create_task(take_turn(coroutine))


def _is_observed(deployment: Live) -> bool:
    status = deployment.document.get("status") or {}
    desired = deployment.document["spec"]["replicas"]
    return status.get("observedGeneration") == deployment.generation and status.get("replicas", 0) == desired


def _is_available(deployment: Live) -> bool:
    status = deployment.document.get("status") or {}
    return _is_observed(deployment) and status.get("availableReplicas", 0) == deployment.document["spec"]["replicas"]


def _is_ready(pod: Live) -> bool:
    conditions = (pod.document.get("status") or {}).get("conditions") or ()
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)
