"""Image-pull secrets of a namespace by registry host, listed at most once a minute.

Duty: keep that list. Secrets are not watched: their contents would fill the operator's memory. Callers: the graph's and
the component deployment's reconcilers.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from dynamo_operator.kube import Forbidden, Live
from dynamo_operator.kube.objects import SECRET
from dynamo_operator.reconcile.ports import Kube

KEPT_S = 60.0
_TYPE = "kubernetes.io/dockerconfigjson"
_KEY = ".dockerconfigjson"

Hosts = Mapping[str, tuple[str, ...]]


class PullSecrets:
    """`monotonic` gives seconds."""

    def __init__(self, kube: Kube, monotonic: Callable[[], float]) -> None:
        self._kube = kube
        self._monotonic = monotonic
        self._known: dict[str, _Look] = {}

    async def of(self, namespace: str) -> Hosts:
        """Secret names by registry host; all of them for images that name no host, since the kubelet picks by host.

        Who asks while a list is under way waits for the same one; one that failed is not kept.
        """
        now_s = self._monotonic()
        self._known = {name: look for name, look in self._known.items() if look.is_kept(now_s)}
        if namespace not in self._known:
            self._known[namespace] = _Look(now_s, asyncio.create_task(self._listed(namespace)))
        return await asyncio.shield(self._known[namespace].listing)

    async def _listed(self, namespace: str) -> Hosts:
        try:
            return hosts_of(await self._kube.find(SECRET, namespace, fields=f"type={_TYPE}"))
        except Forbidden:
            return {}  # an installation may keep secrets from us; pods then name their own


@dataclass(frozen=True, slots=True)
class _Look:
    begun_s: float
    listing: asyncio.Task[Hosts]

    def is_kept(self, now_s: float) -> bool:
        failed = self.listing.done() and (self.listing.cancelled() or self.listing.exception() is not None)
        return not failed and now_s - self.begun_s < KEPT_S


def hosts_of(secrets: Iterable[Live]) -> Hosts:
    """Names by host, in order of name; a secret that cannot be read serves no host."""
    hosts: dict[str, list[str]] = {}
    for secret in sorted(secrets, key=lambda each: each.ref.name):
        for host in dict.fromkeys(("", *_hosts(secret))):
            hosts.setdefault(host, []).append(secret.ref.name)
    return {host: tuple(found) for host, found in hosts.items()}


def _hosts(secret: Live) -> list[str]:
    try:
        text = base64.b64decode((secret.document.get("data") or {}).get(_KEY) or "", validate=True)
        auths = json.loads(text or "{}").get("auths") or {}
        return [_host(str(server)) for server in auths]
    except (binascii.Error, ValueError, AttributeError, TypeError):
        return []


def _host(server: str) -> str:
    """The host of `https://host/v1/` or `host/path`."""
    return server.removeprefix("https://").removeprefix("http://").partition("/")[0]
