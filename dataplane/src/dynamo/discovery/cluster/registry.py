"""The worker's side: one DynamoWorkerMetadata per pod, owned by the pod, holding all workers of this process.

The shell's heartbeat writes nothing while the announcement stands; it is what tries again when a write failed, or when
the watch on the own announcement says that somebody changed it.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Mapping

from dynamo.discovery.cluster.api import ApiRefused, ApiUnreachable, Collection, Connect, connector
from dynamo.discovery.cluster.discovery import announcements_in
from dynamo.discovery.cluster.identity import Pod, read_pod
from dynamo.discovery.cluster.metadata import Announcement, manifest, read_announcement
from dynamo.discovery.cluster.reflector import Pace, Reflector, retry_s
from dynamo.discovery.errors import DiscoveryError
from dynamo.wire.cards import WorkerCard

RIGHTS_GRACE_S = 10.0
"""A Role may be written a moment after the pod that needs it has started."""
WITHDRAW_TRIES = 3

_log = logging.getLogger(__name__)


def open_cluster_registry(env: Mapping[str, str]) -> ClusterRegistry:
    """Raises DiscoveryError when the pod is unknown or there is no way to an API server."""
    pod = read_pod(env)
    connect, _ = connector(env)
    return ClusterRegistry(connect, pod)


class ClusterRegistry:
    """Owns the pod's announcement."""

    def __init__(
        self, connect: Connect, pod: Pod, pace: Pace | None = None, rights_grace_s: float = RIGHTS_GRACE_S
    ) -> None:
        self._connect = connect
        self._pod = pod
        self._pace = pace or Pace()
        self._rights_grace_s = rights_grace_s
        collection = announcements_in(pod.namespace)
        self._path = f"{collection.path}/{pod.announcement}"
        own = Collection(collection.kind, collection.path, {"fieldSelector": f"metadata.name={pod.announcement}"})
        self._seen = Reflector(connect, own, read_announcement, self._look, self._pace)
        self._watch: asyncio.Task[None] | None = None
        self._writing = asyncio.Lock()
        self._cards: dict[int, WorkerCard] = {}
        self._uid = ""
        self._stands = False
        """The server has what we wrote, as far as we know."""
        self._failures = 0
        self._retry_at_s = 0.0

    async def check(self) -> None:
        """Tries, without writing, whether this pod may announce itself.

        Raises DiscoveryError naming the right or resource that is missing: better before an engine loads for minutes
        than after. An API server that is away is no reason not to load.
        """
        give_up_s = asyncio.get_running_loop().time() + self._rights_grace_s
        while True:
            try:
                async with self._connect() as api:
                    await api.apply(self._path, manifest(self._pod, ()), is_dry_run=True)
                return
            except ApiUnreachable as error:
                _log.warning("the API server cannot be reached, the worker announces itself later: %s", error)
                return
            except ApiRefused as refused:
                if refused.status != 403 or asyncio.get_running_loop().time() > give_up_s:
                    raise self._refusal(refused) from refused
            await asyncio.sleep(self._rights_grace_s / 10)

    async def publish(self, card: WorkerCard) -> None:
        """Raises DiscoveryError when the server refuses; while it cannot be reached, each call tries again."""
        async with self._writing:
            if self._cards.get(card.worker_id) != card:
                self._cards[card.worker_id] = card
                self._stands, self._retry_at_s = False, 0.0
            if not self._stands and asyncio.get_running_loop().time() >= self._retry_at_s:
                await self._write()

    async def withdraw(self, worker_id: int) -> None:
        """Raises DiscoveryError when it could not be said; the announcement then goes with the pod."""
        async with self._writing:
            if self._cards.pop(worker_id, None) is None:
                return
            if self._cards:
                self._stands, self._retry_at_s = False, 0.0
                await self._write()
                return
            await self._stop_watching()
            await self._delete()

    async def _write(self) -> None:
        try:
            async with self._connect() as api:
                self._uid = await api.apply(self._path, manifest(self._pod, self._cards.values()))
        except ApiUnreachable as error:
            self._failures += 1
            pause_s = retry_s(self._pace, self._failures, random.random())  # noqa: S311  # jitter
            self._retry_at_s = asyncio.get_running_loop().time() + pause_s
            if self._failures == 1:
                _log.warning("the worker could not announce itself and tries on: %s", error)
            return
        except ApiRefused as refused:
            raise self._refusal(refused) from refused
        if self._failures:
            _log.info("the worker announced itself after %d failures", self._failures)
        self._failures, self._stands = 0, True
        if self._watch is None:
            self._watch = asyncio.get_running_loop().create_task(self._seen.run())

    async def _delete(self) -> None:
        """At once and stubbornly: until it is gone, frontends send requests here."""
        uid, self._uid, self._stands = self._uid, "", False
        if not uid:
            return
        for tries in range(1, WITHDRAW_TRIES + 1):
            try:
                async with self._connect() as api:
                    await api.delete(self._path, uid)
                return
            except ApiUnreachable as error:
                if tries == WITHDRAW_TRIES:
                    raise DiscoveryError(f"cannot withdraw {self._pod.announcement}: {error}") from error
                await asyncio.sleep(retry_s(self._pace, tries, 1.0))
            except ApiRefused as refused:
                raise self._refusal(refused) from refused

    def _look(self) -> None:
        """What the server has: when it is not what we wrote, the next heartbeat writes it again."""
        if self._seen.is_synced and self._seen.problem is None:
            found = self._seen.objects.get(self._pod.announcement)
            if found is None or not self._is_ours(found):
                self._stands = False

    def _is_ours(self, found: Announcement) -> bool:
        cards = {card.worker_id: card for card in found.cards}
        return found.pod_uid == self._pod.uid and cards == self._cards

    async def _stop_watching(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.gather(self._watch, return_exceptions=True)
            self._watch = None

    def _refusal(self, refused: ApiRefused) -> DiscoveryError:
        what = f"DynamoWorkerMetadata {self._pod.namespace}/{self._pod.announcement} cannot be written"
        if refused.status == 403:
            return DiscoveryError(
                f"{what}: {refused}; the service account needs create, patch, delete, get, watch on it"
            )
        if refused.status == 404:
            return DiscoveryError(
                f"{what}: the cluster does not know the resource, or the namespace is gone ({refused})"
            )
        return DiscoveryError(f"{what}: {refused}")
