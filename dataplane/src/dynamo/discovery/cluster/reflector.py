"""A collection of Kubernetes objects, kept up to date here: list once, then watch, for as long as it takes.

While the API server is away the last known objects stay. Owned and run by the registry and the discovery.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

import msgspec

from dynamo.discovery.cluster.api import (
    ApiRefused,
    ApiUnreachable,
    Change,
    Collection,
    Connect,
    KubeApi,
    VersionGone,
)

_log = logging.getLogger(__name__)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Pace:
    """How often the API server is bothered, in seconds."""

    watch_s: int = 30
    """After so long the server ends a watch and it is asked for anew: the bound on not noticing a dead connection."""
    retry_first_s: float = 0.2
    retry_most_s: float = 15.0
    hasty_s: float = 1.0
    """A watch that ends sooner, having said nothing, counts as a failure."""


def retry_s(pace: Pace, failures: int, chance: float) -> float:
    """Doubling pauses; `chance` (0 to 1) keeps a fleet's clients from coming back as one."""
    return float(min(pace.retry_first_s * 2.0 ** min(failures - 1, 30), pace.retry_most_s) * (0.5 + chance / 2))


class Reflector(Generic[T]):
    """`objects` by name; `changed` is called after each change of them or of `problem`."""

    def __init__(
        self,
        connect: Connect,
        collection: Collection,
        read: Callable[[bytes], T],
        changed: Callable[[], None],
        pace: Pace,
    ) -> None:
        self._connect = connect
        self._collection = collection
        self._read = read
        self._changed = changed
        self._pace = pace
        self._version: str | None = None
        self._failures = 0
        self.objects: dict[str, T] = {}
        self.is_synced = False
        """The collection was listed once."""
        self.problem: str | None = None
        """Why what is here may be old; None while it is followed."""

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            try:
                async with self._connect() as api:
                    await self._follow(api)
            except VersionGone:
                self._version = None
                self._failures += 1
            except (ApiUnreachable, ApiRefused) as error:
                self._failures += 1
                self._say(_reason(self._collection, error))
            # Jitter, not a secret.
            await asyncio.sleep(retry_s(self._pace, self._failures, random.random()))  # noqa: S311

    async def _follow(self, api: KubeApi) -> None:
        if self._version is None:
            listed = await api.list(self._collection)
            self._replace(listed.items)
            self._version = listed.version
        loop = asyncio.get_running_loop()
        while True:
            began_s, has_heard = loop.time(), False
            watch_s = self._pace.watch_s + random.randrange(1 + self._pace.watch_s // 10)  # noqa: S311
            async with api.watch(self._collection, self._version, watch_s) as changes:
                self._is_well()
                async for change in changes:
                    has_heard = True
                    self._failures = 0
                    self._take(change)
            if not has_heard and loop.time() - began_s < self._pace.hasty_s:
                raise ApiUnreachable("the server ended a watch at once")
            self._failures = 0

    def _replace(self, items: tuple[bytes, ...]) -> None:
        objects = {}
        for item in items:
            if (found := self._decode(item)) is not None:
                name, value = found
                objects[name] = value
        has_changed = objects != self.objects or not self.is_synced
        self.objects, self.is_synced = objects, True
        if has_changed:
            self._changed()

    def _take(self, change: Change) -> None:
        self._version = change.version or self._version
        if change.type == "BOOKMARK":
            return
        if change.type == "DELETED":
            self.objects.pop(change.name, None)
        elif (found := self._decode(change.object)) is not None:
            self.objects[change.name] = found[1]
        self._changed()

    def _decode(self, document: bytes) -> tuple[str, T] | None:
        try:
            return _named.decode(document).metadata.name, self._read(document)
        except msgspec.ValidationError as error:
            _log.warning("skipped one of the %s: %s", self._collection.kind, error)
            return None

    def _is_well(self) -> None:
        if self.problem is not None:
            self.problem = None
            _log.info("%s are watched again", self._collection.kind)
            self._changed()

    def _say(self, problem: str) -> None:
        """Once per reason, however often it is tried."""
        if problem != self.problem:
            self.problem = problem
            _log.warning("%s", problem)
            self._changed()


class _Meta(msgspec.Struct, frozen=True):
    name: str


class _Named(msgspec.Struct, frozen=True):
    metadata: _Meta


_named = msgspec.json.Decoder(_Named)


def _reason(collection: Collection, error: ApiUnreachable | ApiRefused) -> str:
    if isinstance(error, ApiUnreachable):
        return f"{collection.kind} cannot be watched, what was known stays in use: {error}"
    if error.status == 403:
        right = collection.path.rpartition("/")[2]
        return f"{collection.kind} cannot be watched: {error}; the service account needs get, list, watch on {right}"
    if error.status == 404:
        return f"{collection.kind} cannot be watched: the cluster does not know them; install the CRDs"
    return f"{collection.kind} cannot be watched: {error}"
