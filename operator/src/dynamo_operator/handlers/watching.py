"""kopf, and nothing of it anywhere else: lists and watches of the kinds that somebody reconciles.

Duty: keep every watch running for ever and hand over what it sees. kopf reconnects, retries, re-lists after 410 and
follows rotated credentials. It runs in a thread of its own, because when it stops it ends every task that it finds in
its loop, and because it takes the process's signals. It persists nothing, posts nothing, knows no peers.

Lists do not pass through kopf's handlers. It would start a task for each object listed, and it never says what a second
list lacks, so that what is deleted while a watch is away would stay for ever. The session's response class hands each
complete list over in one piece, and shows kopf an empty one with its position to watch from.
Callers: the process's wiring.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
import weakref
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, cast

import aiohttp
import kopf

from dynamo_operator.handlers.listing import Lists, response_class
from dynamo_operator.kube import Access, Kind, Packed, Ref, pack
from dynamo_operator.kube.access import USER_AGENT, open_socket

SERVER_TIMEOUT_S = 2 * 3600  # a watch that lives this long costs one request per two hours
# The API server sends a bookmark every minute, on a busy one more than 70 s apart where a kind has no objects; without
# two in a row a stream is dead whatever its connection answers. Vanished peers are noticed sooner, by keepalive.
SILENCE_LIMIT_S = 130.0
PAGE_SIZE = 500
RESTART_BACKOFF_S = (1.0, 2.0, 5.0, 10.0, 30.0)
STOP_DEADLINE_S = 10.0
GOODBYE_S = 1.0
IDENTITY = "dynamo-operator"  # among kopf's peers, of which there are none

log = logging.getLogger(__name__)


class Listener(Protocol):
    """Hears from another thread, in the order of what happened to one object."""

    def listed(self, kind: Kind, namespace: str, objects: list[Packed], version: int) -> None: ...

    def seen(self, packed: Packed) -> None: ...

    def ended(self, ref: Ref, uid: str) -> None: ...


@dataclass(frozen=True, slots=True)
class Watched:
    """What to watch: every kind in all namespaces, or in one; a selector of fields or labels narrows a kind."""

    kinds: tuple[Kind, ...]
    namespace: str = ""
    field_selectors: Mapping[Kind, str] = field(default_factory=dict)
    label_selectors: Mapping[Kind, str] = field(default_factory=dict)


class Watching:
    """The thread that watches. `failing_for_s` says how long it has been unable to, for the health check."""

    def __init__(
        self,
        access: Access,
        watched: Watched,
        listener: Listener,
        *,
        clock: Callable[[], float],
        on_restart: Callable[[], None],
    ) -> None:
        self._access = access
        self._watched = watched
        self._listener = listener
        self._clock = clock
        self._on_restart = on_restart
        self._stop = threading.Event()
        self._failing_since: float | None = None
        self._is_ending = False
        self._sockets: weakref.WeakSet[socket.socket] = weakref.WeakSet()
        self._thread = threading.Thread(target=self._run, name="watching", daemon=True)

    def start(self) -> None:
        self._thread.start()

    async def stop(self) -> None:
        self._stop.set()
        await asyncio.to_thread(self._thread.join, STOP_DEADLINE_S)

    def failing_for_s(self) -> float:
        """0 while watching; also grows when the thread is gone."""
        if not self._thread.is_alive() and not self._stop.is_set() and self._failing_since is None:
            self._failing_since = self._clock()
        return 0.0 if self._failing_since is None else self._clock() - self._failing_since

    def _run(self) -> None:
        """kopf ends itself on what it takes for fatal (a refused list, a broken stream); begin anew, patiently."""
        failures = 0
        while not self._stop.is_set():
            started = self._clock()
            try:
                asyncio.run(self._watch_once())
            except Exception as error:  # the thread is the operator's eyes: it must outlive whatever happened
                log.error("watching_failed error=%r", f"{type(error).__name__}: {error}"[:500])
            if self._stop.is_set():
                return
            failures = 0 if self._clock() - started > 60 else failures + 1
            self._note_failure()
            self._stop.wait(RESTART_BACKOFF_S[min(failures, len(RESTART_BACKOFF_S) - 1)])

    def _note_failure(self) -> None:
        if not self._is_ending:
            self._is_ending = True
            self._failing_since = self._failing_since or self._clock()
            self._on_restart()

    async def _watch_once(self) -> None:
        self._is_ending = False
        registry = kopf.OperatorRegistry()
        self._register(registry)
        await kopf.operator(
            registry=registry,
            settings=self._settings(),
            standalone=True,
            clusterwide=not self._watched.namespace,
            namespaces=[self._watched.namespace] if self._watched.namespace else [],
            # Else kopf asks the system for its user's name, and a container's numeric user has none.
            identity=cast(Any, IDENTITY),
            stop_flag=self._stop,
        )
        await self._until_closed()

    async def _until_closed(self) -> None:
        """TLS connections end after their peer's goodbye; without a loop by then the collector would find them."""
        deadline_s = self._clock() + GOODBYE_S
        while any(made.fileno() != -1 for made in self._sockets) and self._clock() < deadline_s:  # noqa: ASYNC110
            await asyncio.sleep(0.01)  # no callback tells of a socket's end

    def _settings(self) -> kopf.OperatorSettings:
        settings = kopf.OperatorSettings()
        settings.posting.enabled = False
        settings.scanning.disabled = True  # it would watch CRDs and namespaces, for which the operator has no rights
        settings.watching.server_timeout = SERVER_TIMEOUT_S
        settings.watching.inactivity_timeout = SILENCE_LIMIT_S
        settings.watching.connect_timeout = 10
        settings.watching.chunk_size = PAGE_SIZE
        settings.networking.request_timeout = 60
        settings.networking.error_backoffs = [1, 1, 2, 3, 5, 5, 5, 5]
        settings.queueing.idle_timeout = 0.5
        settings.queueing.exit_timeout = 0.5
        settings.persistence.diffbase_storage = _NoMemory()
        for kind, selector in self._watched.field_selectors.items():
            settings.watching.field_selectors[kind.group, kind.version, kind.plural] = selector
        for kind, selector in self._watched.label_selectors.items():
            settings.watching.label_selectors[kind.group, kind.version, kind.plural] = selector
        return settings

    def _register(self, registry: kopf.OperatorRegistry) -> None:
        @kopf.on.login(registry=registry)
        async def login(**_: Any) -> kopf.AiohttpSession:
            return self._session()

        @kopf.on.cleanup(registry=registry, id="ending")
        async def ending(**_: Any) -> None:
            # kopf has given up, and may now wait for ever for streams that wait for credentials: say so before.
            if not self._stop.is_set():
                self._note_failure()

        for kind in self._watched.kinds:
            kopf.on.event(kind.group, kind.version, kind.plural, registry=registry, id="feed")(self._feeder(kind))

    def _feeder(self, kind: Kind) -> Callable[..., Awaitable[None]]:
        # A plain function would be run in a pool of threads.
        async def feed(type: str | None, event: Mapping[str, Any], **_: Any) -> None:
            raw = event["object"]
            if type == "DELETED":
                metadata = raw["metadata"]
                self._listener.ended(Ref(kind, metadata.get("namespace", ""), metadata["name"]), metadata["uid"])
            else:
                self._listener.seen(pack(raw, kind))

        return feed

    def _session(self) -> kopf.AiohttpSession:
        headers = {"User-Agent": USER_AGENT}
        authorization = self._access.authorization()
        if authorization:
            headers["Authorization"] = authorization
        context = self._access.ssl_context()
        session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ssl=context or True, socket_factory=self._socket),
            headers=headers,
            trust_env=True,
            response_class=response_class(Lists(self._watched.kinds, self._watched.namespace, self._hear_list)),
        )
        return kopf.AiohttpSession(
            aiohttp_session=session, server=self._access.server, default_namespace=self._access.namespace
        )

    def _socket(self, address: tuple[Any, ...]) -> socket.socket:
        made = open_socket(address)
        self._sockets.add(made)
        return made

    def _hear_list(self, kind: Kind, namespace: str, objects: list[Packed], version: int) -> None:
        self._failing_since = None
        self._listener.listed(kind, namespace, objects, version)


class _NoMemory(kopf.DiffBaseStorage):
    """kopf compares each object with what it last handled, for handlers that we do not use; spare it the copies."""

    def fetch(self, *, body: kopf.Body) -> None:  # noqa: ARG002
        return None

    def build(self, *, body: kopf.Body, extra_fields: Iterable[Any] | None = None) -> kopf.BodyEssence:  # noqa: ARG002
        return kopf.BodyEssence()

    def store(self, *, body: kopf.Body, patch: kopf.Patch, essence: kopf.BodyEssence) -> None:  # noqa: ARG002
        raise AssertionError("nothing is kept in objects")
