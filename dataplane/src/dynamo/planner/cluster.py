"""The connector of a Kubernetes cluster: reads the graph and its EndpointSlices, writes the scale subresource.

Needs get on graphs, get and patch on scaling adapters, list on endpointslices, and patch on graphs where a component
has no adapter. Events are written where that is allowed. Built by `__main__`, called by `loop`.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

import httpx2
from lightkube import ApiError, AsyncClient
from lightkube.generic_resource import create_namespaced_resource
from lightkube.models.core_v1 import EventSource, ObjectReference
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import Event
from lightkube.resources.discovery_v1 import EndpointSlice
from lightkube.types import PatchType

from dynamo.planner.connector import Happening
from dynamo.planner.endpoints import Endpoints
from dynamo.planner.errors import Conflicted, ConnectorError, GraphError, Refused, Unreachable
from dynamo.planner.graph_view import Entry, GraphView
from dynamo.planner.sight import Component, Sight
from dynamo.process.logs import EventLog
from dynamo.wire.cards import Role

GROUP, VERSION = "nvidia.com", "v1beta1"
GRAPH_LABEL = "nvidia.com/dynamo-graph-deployment-name"
CALL_DEADLINE_S = 10.0
TRIES = 3
MESSAGE_CHARS_MAX = 1000
"""The API server refuses Events with longer messages than 1,024."""


@dataclass(frozen=True, slots=True)
class Target:
    """Which graph, and what the configuration says about its workers."""

    namespace: str
    graph: str
    mode: str
    gpus: Mapping[Role, int]
    """Overrides of GPUs per replica."""


class ClusterConnector:
    """One graph in one namespace."""

    def __init__(self, client: AsyncClient, target: Target, log: EventLog) -> None:
        self._client = client
        self._target = target
        self._log = log
        self._graphs = create_namespaced_resource(GROUP, VERSION, "DynamoGraphDeployment", "dynamographdeployments")
        adapters = create_namespaced_resource(
            GROUP,
            VERSION,
            "DynamoGraphDeploymentScalingAdapter",
            "dynamographdeploymentscalingadapters",
        )
        self._scales = adapters.Scale
        self._uid = ""
        self._may_tell = True

    async def look(self) -> Sight:
        target = self._target
        graph = await self._graph()
        self._uid = graph.uid
        endpoints = await self._endpoints()
        scaled = graph.scaled(target.mode)
        desired = {entry.name: await self._desired(entry) for entry in scaled.values()}
        notes: list[str] = []
        components = {
            role: self._component(role, entry, graph, endpoints, desired[entry.name], notes)
            for role, entry in scaled.items()
        }
        ending = sum(endpoints.ending(entry.name) for entry in scaled.values())
        steadiness, why = graph.steadiness(desired, ending)
        return Sight(
            components,
            tuple(source for entry in graph.frontends() for source in endpoints.ready(entry.name, "http")),
            {role: tuple(endpoints.ready(entry.name, "system")) for role, entry in scaled.items()},
            steadiness,
            why,
            tuple(notes),
        )

    async def scale(self, component: str, replicas: int) -> None:
        """Writes the adapter's scale; where there is none, the component itself, if it is still in its place."""
        for attempt in range(TRIES):
            try:
                if not await self._scale_adapter(component, replicas):
                    await self._scale_graph(component, replicas)
                return
            except Conflicted:
                if attempt == TRIES - 1:
                    raise

    async def tell(self, happening: Happening, message: str, *, is_warning: bool = False) -> None:
        if not self._may_tell or not self._uid:
            return
        try:
            async with _deadline("creating an Event"):
                await self._client.create(self._event(happening, message, is_warning))
        except Refused as error:
            self._may_tell = False
            self._log.warning("planner_events_not_allowed", message=str(error))
        except ConnectorError as error:
            self._log.debug("planner_event_not_written", message=str(error))

    async def close(self) -> None:
        with contextlib.suppress(httpx2.HTTPError):
            await self._client.close()

    async def _graph(self) -> GraphView:
        try:
            async with _deadline(f"reading graph {self._target.graph}"):
                found = await self._client.get(self._graphs, self._target.graph, namespace=self._target.namespace)
        except _Absent as error:
            raise GraphError(str(error)) from error
        return GraphView(found)

    async def _endpoints(self) -> Endpoints:
        found: list[Mapping[str, Any]] = []
        async with _deadline("listing endpointslices"):
            slices = self._client.list(
                EndpointSlice, namespace=self._target.namespace, labels={GRAPH_LABEL: self._target.graph}
            )
            async for one in slices:
                found.append(one.to_dict())
        return Endpoints(found)

    async def _desired(self, entry: Entry) -> int:
        """The adapter owns the number where there is one."""
        try:
            async with _deadline(f"reading the scale of {entry.name}"):
                scale = await self._client.get(
                    self._scales, self._adapter(entry.name), namespace=self._target.namespace
                )
        except _Absent:
            return entry.replicas
        return int((scale.spec.replicas if scale.spec else 0) or 0)

    def _component(
        self, role: Role, entry: Entry, graph: GraphView, endpoints: Endpoints, desired: int, notes: list[str]
    ) -> Component:
        standing = graph.standing(entry.name)
        gpus = self._target.gpus.get(role) or graph.gpus_per_replica(entry)
        if gpus is None:
            gpus = 1
            notes.append(f"{entry.name} asks for no GPUs: each replica counts as one against the budget")
        present = max(standing.replicas, endpoints.total(entry.name))
        return Component(entry.name, desired, standing.ready, present, gpus)

    async def _scale_adapter(self, component: str, replicas: int) -> bool:
        """False: there is no adapter."""
        try:
            async with _deadline(f"scaling {component}"):
                await self._client.patch(
                    self._scales,
                    self._adapter(component),
                    {"spec": {"replicas": replicas}},
                    namespace=self._target.namespace,
                    patch_type=PatchType.MERGE,
                )
        except _Absent:
            return False
        return True

    async def _scale_graph(self, component: str, replicas: int) -> None:
        entry = (await self._graph()).entry(component)
        path = f"/spec/components/{entry.index}"
        patch = [
            {"op": "test", "path": f"{path}/name", "value": component},
            {"op": "add", "path": f"{path}/replicas", "value": replicas},
        ]
        async with _deadline(f"scaling {component}"):
            await self._client.patch(
                self._graphs,
                self._target.graph,
                patch,
                namespace=self._target.namespace,
                patch_type=PatchType.JSON,
            )

    def _adapter(self, component: str) -> str:
        return f"{self._target.graph}-{component.lower()}"

    def _event(self, happening: Happening, message: str, is_warning: bool) -> Event:
        target, now = self._target, datetime.datetime.now(datetime.UTC)
        return Event(
            metadata=ObjectMeta(generateName=f"{target.graph}-planner-", namespace=target.namespace),
            involvedObject=ObjectReference(
                apiVersion=f"{GROUP}/{VERSION}",
                kind="DynamoGraphDeployment",
                name=target.graph,
                namespace=target.namespace,
                uid=self._uid,
            ),
            reason=happening.value,
            message=message[:MESSAGE_CHARS_MAX],
            type="Warning" if is_warning else "Normal",
            source=EventSource(component="dynamo-planner"),
            firstTimestamp=now,
            lastTimestamp=now,
            count=1,
        )


class _Absent(ConnectorError):
    """404: the object, or the whole kind, is not there."""


@contextlib.asynccontextmanager
async def _deadline(doing: str) -> AsyncIterator[None]:
    """Ends a call in time and says what went wrong in the planner's words."""
    try:
        async with asyncio.timeout(CALL_DEADLINE_S):
            yield
    except TimeoutError as error:
        raise Unreachable(f"{doing}: no answer within {CALL_DEADLINE_S:g} s") from error
    except ApiError as error:
        raise _classified(doing, error) from error
    except httpx2.HTTPError as error:
        raise Unreachable(f"{doing}: {type(error).__name__} {error}".rstrip()) from error


def _classified(doing: str, error: ApiError) -> ConnectorError:
    code, text = error.status.code or 0, f"{doing}: {error.status.message or 'no message'}"
    if code == 404:
        return _Absent(text)
    # A JSON Patch whose test fails is answered 422 without a word on any field: the components have moved.
    names_fields = error.status.details is not None and error.status.details.causes
    if code == 409 or (code == 422 and not names_fields):
        return Conflicted(text)
    if code == 429 or code >= 500:
        return Unreachable(text)
    return Refused(text)
