"""Requests to the Kubernetes API server: list, watch, apply, delete. Knows HTTP and nothing of workers.

Configuration, TLS and tokens (which rotate) are lightkube's. Its own client is not used: it lets a watch wait without
end, so that a connection that died silently is never noticed, and asks for no bookmarks.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import msgspec
from lightkube.config.client_adapter import AsyncClient, ConnectionParams
from lightkube.config.kubeconfig import DEFAULT_KUBECONFIG, SERVICE_ACCOUNT, KubeConfig, SingleConfig
from lightkube.core.exceptions import ConfigError

from dynamo.discovery.errors import DiscoveryError

FIELD_MANAGER = "dynamo-worker"
REQUEST_TIMEOUT_S = 5.0
LIST_TIMEOUT_S = 30.0
WATCH_SLACK_S = 15.0
"""Beyond the time after which the server itself ends a watch; more silence means that the connection is dead."""
PAGE = 500


class ApiUnreachable(Exception):
    """No answer, or one that says "later": worth another try."""


class ApiRefused(Exception):
    """The server understood and will not; `status` is HTTP's."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class VersionGone(Exception):
    """The server no longer knows the resource version: list anew."""


@dataclass(frozen=True, slots=True)
class Collection:
    """The objects of one kind in one namespace, or those of them that a selector names."""

    kind: str
    """For messages, e.g. `EndpointSlices`."""
    path: str
    """E.g. `apis/discovery.k8s.io/v1/namespaces/default/endpointslices`."""
    selectors: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Listed:
    items: tuple[bytes, ...]
    version: str


@dataclass(frozen=True, slots=True)
class Change:
    """One event of a watch."""

    type: str
    """ADDED, MODIFIED, DELETED or BOOKMARK."""
    object: bytes
    name: str
    version: str


class _Meta(msgspec.Struct, frozen=True):
    name: str = ""
    uid: str = ""
    resourceVersion: str = ""  # noqa: N815  # Kubernetes' names
    continue_: str = msgspec.field(name="continue", default="")


class _Any(msgspec.Struct, frozen=True):
    metadata: _Meta = _Meta()


class _List(msgspec.Struct, frozen=True):
    metadata: _Meta
    items: tuple[msgspec.Raw, ...] = ()


class _Status(msgspec.Struct, frozen=True):
    code: int = 0
    message: str = ""


class _Event(msgspec.Struct, frozen=True):
    type: str
    object: msgspec.Raw


_any, _list = msgspec.json.Decoder(_Any), msgspec.json.Decoder(_List)
_status, _event = msgspec.json.Decoder(_Status), msgspec.json.Decoder(_Event)


class KubeApi:
    """One HTTP client. Every call raises ApiUnreachable or ApiRefused."""

    def __init__(self, http: httpx2.AsyncClient) -> None:
        self._http = http

    async def list(self, collection: Collection) -> Listed:
        """Raises VersionGone when the list grew old between its pages."""
        items: list[bytes] = []
        token = ""
        while True:
            params = {**collection.selectors, "limit": str(PAGE), **({"continue": token} if token else {})}
            found = _list.decode(await self._call("GET", collection.path, params=params, timeout_s=LIST_TIMEOUT_S))
            items += [bytes(item) for item in found.items]
            token = found.metadata.continue_
            if not token:
                return Listed(tuple(items), found.metadata.resourceVersion)

    @asynccontextmanager
    async def watch(self, collection: Collection, version: str, watch_s: int) -> AsyncIterator[AsyncIterator[Change]]:
        """Changes since `version`, for at most `watch_s`. Entered once the server has taken the watch."""
        params = {
            **collection.selectors,
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": version,
            "timeoutSeconds": str(watch_s),
        }
        timeout = httpx2.Timeout(REQUEST_TIMEOUT_S, read=watch_s + WATCH_SLACK_S)
        with _told_apart():
            async with self._http.stream("GET", collection.path, params=params, timeout=timeout) as response:
                if response.status_code != 200:
                    _raise(response.status_code, await response.aread())
                yield _changes(response)

    async def apply(self, path: str, manifest: Mapping[str, Any], *, is_dry_run: bool = False) -> str:
        """Server-side apply; returns the object's uid."""
        params = {"fieldManager": FIELD_MANAGER, "force": "true", **({"dryRun": "All"} if is_dry_run else {})}
        headers = {"content-type": "application/apply-patch+yaml"}
        body = msgspec.json.encode(manifest)
        return _any.decode(await self._call("PATCH", path, params=params, headers=headers, body=body)).metadata.uid

    async def delete(self, path: str, uid: str) -> None:
        """Only the object of that uid: another of its name may be a successor's. It may be gone already."""
        body = msgspec.json.encode({"preconditions": {"uid": uid}})
        try:
            await self._call("DELETE", path, headers={"content-type": "application/json"}, body=body)
        except ApiRefused as refused:
            if refused.status not in (404, 409):
                raise

    async def _call(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        timeout_s: float = REQUEST_TIMEOUT_S,
    ) -> bytes:
        with _told_apart():
            response = await self._http.request(
                method, path, params=dict(params or {}), headers=dict(headers or {}), content=body, timeout=timeout_s
            )
            if response.status_code >= 300:
                _raise(response.status_code, response.content)
            return response.content


class _told_apart:  # noqa: N801  # reads as a verb where it is used
    """Turns the library's errors into this module's."""

    def __enter__(self) -> None:
        return

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, httpx2.HTTPError | ConfigError | OSError):
            raise ApiUnreachable(str(error) or type(error).__name__) from error
        if isinstance(error, msgspec.MsgspecError):
            raise ApiUnreachable(f"the answer cannot be read: {error}") from error


def _raise(status: int, body: bytes) -> None:
    try:
        message = _status.decode(body).message or f"status {status}"
    except msgspec.MsgspecError:
        message = f"status {status}"
    if status == 410:
        raise VersionGone(message)
    # Credentials rotate and may lag (401); 409 is somebody else's write in between.
    if status >= 500 or status in (401, 408, 409, 429):
        raise ApiUnreachable(message)
    raise ApiRefused(status, message)


async def _changes(response: httpx2.Response) -> AsyncIterator[Change]:
    rest = b""
    async for piece in response.aiter_bytes():
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            event = _event.decode(line)
            if event.type == "ERROR":
                status = _status.decode(event.object)
                _raise(status.code or 500, bytes(event.object))
            meta = _any.decode(event.object).metadata
            yield Change(event.type, bytes(event.object), meta.name, meta.resourceVersion)


Connect = Callable[[], AbstractAsyncContextManager[KubeApi]]
"""Opens a client: anew after each failure, so that a new certificate authority or address is taken up."""


def connector(env: Mapping[str, str]) -> tuple[Connect, str]:
    """How to reach the API server, and the namespace that its configuration names.

    KUBECONFIG, else the pod's service account, else ~/.kube/config. Raises DiscoveryError.
    """
    config = _config(env)

    @asynccontextmanager
    async def connect() -> AsyncIterator[KubeApi]:
        with _told_apart():
            # Nobody's proxy lies between a pod and its own cluster's API server.
            fresh = _config(env)
            http = AsyncClient(fresh, ConnectionParams(trust_env=not _is_in_pod(env)))
        async with http:
            yield KubeApi(http)

    return connect, config.namespace


def _is_in_pod(env: Mapping[str, str]) -> bool:
    return not env.get("KUBECONFIG") and "KUBERNETES_SERVICE_HOST" in os.environ and Path(SERVICE_ACCOUNT).is_dir()


def _config(env: Mapping[str, str]) -> SingleConfig:
    try:
        if _is_in_pod(env):
            found = KubeConfig.from_service_account()
        else:
            found = KubeConfig.from_file(env.get("KUBECONFIG") or DEFAULT_KUBECONFIG)
        config = found.get()
    except (ConfigError, OSError, KeyError, ValueError) as error:
        raise DiscoveryError(
            f"DYN_DISCOVERY_BACKEND=kubernetes: no way to the API server ({error}); "
            "run in a pod with a service account, or name a file in KUBECONFIG"
        ) from error
    if config is None or config.user is None:
        raise DiscoveryError("KUBECONFIG: the current context names no user")
    return config
