"""The frontend's side: everyone who announces himself and whom Kubernetes calls ready, as it changes.

Two collections are followed: the announcements, and EndpointSlices (or pods, where each container is a worker). With
the API server away the last view stays: who died meanwhile is for the frontend's own checks to find.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping

import msgspec

from dynamo.discovery.cluster.api import Collection, Connect, connector
from dynamo.discovery.cluster.identity import read_mode, read_namespace
from dynamo.discovery.cluster.metadata import Announcement, read_announcement
from dynamo.discovery.cluster.reflector import Pace, Reflector
from dynamo.discovery.cluster.sight import (
    DISCOVERY_LABELS,
    EndpointSlice,
    PodObject,
    Ready,
    Sight,
    join,
    ready_containers,
    ready_pods,
)
from dynamo.wire.cards import WorkerCard

COALESCE_S = 0.02
"""Changes so close together come as one: a rollout touches many objects at once."""


def announcements_in(namespace: str) -> Collection:
    return Collection("DynamoWorkerMetadata", f"apis/nvidia.com/v1alpha1/namespaces/{namespace}/dynamoworkermetadatas")


def open_cluster_discovery(env: Mapping[str, str]) -> ClusterDiscovery:
    """Raises DiscoveryError when there is no way to an API server."""
    connect, default_namespace = connector(env)
    return ClusterDiscovery(connect, read_namespace(env) or default_namespace, read_mode(env))


class ClusterDiscovery:
    """Watches one Kubernetes namespace."""

    def __init__(self, connect: Connect, namespace: str, mode: str = "pod", pace: Pace | None = None) -> None:
        self._connect = connect
        self._namespace = namespace
        self._mode = mode
        self._pace = pace or Pace()
        self._problems: tuple[str, ...] = ("the workers were not listed yet",)

    @property
    def problems(self) -> tuple[str, ...]:
        """What keeps workers from being seen, in words for whoever runs the cluster."""
        return self._problems

    async def watch(self) -> AsyncIterator[tuple[WorkerCard, ...]]:
        """First everyone there now, as soon as both collections were listed; then everyone anew at each change."""
        has_changed = asyncio.Event()
        view = self._view(has_changed.set)
        loop = asyncio.get_running_loop()
        tasks = [loop.create_task(run()) for run in view.runs]
        for task in tasks:
            task.add_done_callback(lambda _: has_changed.set())
        shown: tuple[WorkerCard, ...] | None = None
        try:
            while True:
                await has_changed.wait()
                await asyncio.sleep(COALESCE_S)
                has_changed.clear()
                for task in tasks:
                    if task.done():
                        task.result()
                sight = view.look()
                self._problems = sight.problems
                if view.is_synced() and sight.cards != shown:
                    shown = sight.cards
                    yield shown
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _view(self, changed: Callable[[], None]) -> _View:
        announced = Reflector(self._connect, announcements_in(self._namespace), read_announcement, changed, self._pace)
        labels = {"labelSelector": ",".join(f"{name}={value}" for name, value in DISCOVERY_LABELS.items())}
        if self._mode == "container":
            pods = Collection("Pods", f"api/v1/namespaces/{self._namespace}/pods", labels)
            decode_pod = msgspec.json.Decoder(PodObject).decode
            in_pods = Reflector(self._connect, pods, decode_pod, changed, self._pace)
            return _View(announced, in_pods, lambda: ready_containers(in_pods.objects.values()))
        path = f"apis/discovery.k8s.io/v1/namespaces/{self._namespace}/endpointslices"
        decode_slice = msgspec.json.Decoder(EndpointSlice).decode
        slices = Reflector(self._connect, Collection("EndpointSlices", path, labels), decode_slice, changed, self._pace)
        return _View(announced, slices, lambda: ready_pods(slices.objects.values()))


class _View:
    """The two collections of one watch."""

    def __init__(
        self,
        announced: Reflector[Announcement],
        readiness: Reflector[EndpointSlice] | Reflector[PodObject],
        ready: Callable[[], Mapping[str, Ready]],
    ) -> None:
        self._announced = announced
        self._readiness = readiness
        self._ready = ready
        self.runs = (announced.run, readiness.run)

    def is_synced(self) -> bool:
        return self._announced.is_synced and self._readiness.is_synced

    def look(self) -> Sight:
        followed = (self._announced, self._readiness)
        problems = tuple(one.problem for one in followed if one.problem is not None)
        if not self.is_synced():
            return Sight((), problems or ("the workers were not listed yet",))
        has_labelled = bool(self._readiness.objects)
        sight = join(self._announced.objects.values(), self._ready(), has_labelled=has_labelled)
        return Sight(sight.cards, (*problems, *sight.problems))
