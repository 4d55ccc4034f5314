"""Image-pull secrets of a namespace by registry host, listed at most once a minute.

Duty: keep that list. Secrets are not watched: their contents would fill the operator's memory. Callers: the graph's and
the component deployment's reconcilers.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Iterable, Mapping

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
        self._known: dict[str, tuple[float, Hosts]] = {}

    async def of(self, namespace: str) -> Hosts:
        """Secret names by registry host; all of them for images that name no host, since the kubelet picks by host."""
        now = self._monotonic()
        self._known = {name: entry for name, entry in self._known.items() if now - entry[0] < KEPT_S}
        if namespace not in self._known:
            self._known[namespace] = (now, hosts_of(await self._listed(namespace)))
        return self._known[namespace][1]

    async def _listed(self, namespace: str) -> tuple[Live, ...]:
        try:
            return await self._kube.find(SECRET, namespace, fields=f"type={_TYPE}")
        except Forbidden:
            return ()  # an installation may keep secrets from us; pods then name their own


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
