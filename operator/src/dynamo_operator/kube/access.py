"""Where the API server is and who we are to it, for every client library alike.

Duty: read a kubeconfig or the pod's service account once, and hand out the TLS context and the current credentials. It
must not send requests. Callers: the process's wiring, `client.py`, and the watches.
"""

from __future__ import annotations

import socket
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
from lightkube.config.client_adapter import user_auth, verify_cluster
from lightkube.config.kubeconfig import SERVICE_ACCOUNT, KubeConfig, SingleConfig
from lightkube.core.exceptions import ConfigError

# A connection whose peer vanished without a word is given up after this long (see `open_socket`).
SILENCE_LIMIT_S = 30
USER_AGENT = "dynamo-operator"


class NoAccess(Exception):
    """No usable kubeconfig or service account; the message says what was looked for."""


@dataclass(frozen=True, slots=True)
class Access:
    """A resolved way to the API server. `namespace` is the one that the credentials name, else `default`."""

    config: SingleConfig

    @property
    def server(self) -> str:
        return str(self.config.cluster.server)

    @property
    def namespace(self) -> str:
        return self.config.namespace

    def ssl_context(self) -> ssl.SSLContext | None:
        """None for a plain http server."""
        if self.config.user is None or not self.server.startswith("https"):
            return None
        return verify_cluster(self.config.cluster, self.config.user, self.config.abs_file)

    def authorization(self) -> str | None:
        """The Authorization header as of now: reads the token's file, or runs the program that gives one.

        Raises NoAccess where neither gives one.
        """
        try:
            auth = user_auth(self.config.user)
            if auth is None:
                return None
            request = next(auth.sync_auth_flow(httpx2.Request("GET", self.server)))
        except (ConfigError, OSError, ValueError, KeyError, TypeError) as error:
            raise NoAccess(f"no credentials for the Kubernetes API server: {error}") from error
        return request.headers.get("Authorization")


def find_access(kubeconfig: Path | None = None) -> Access:
    """The named kubeconfig; without one the pod's service account, then KUBECONFIG, then ~/.kube/config."""
    try:
        config = (KubeConfig.from_file(kubeconfig) if kubeconfig else KubeConfig.from_env()).get()
    except (ConfigError, OSError, KeyError) as error:
        raise NoAccess(f"no access to a Kubernetes API server: {error}") from error
    if config is None:
        raise NoAccess(f"{kubeconfig or 'kubeconfig'}: names no current context")
    return Access(config)


def own_namespace(access: Access) -> str:
    """The namespace that this process's pod lies in; outside a cluster the kubeconfig's."""
    try:
        return Path(SERVICE_ACCOUNT, "namespace").read_text().strip()
    except OSError:
        return access.namespace


def open_socket(address: tuple[Any, ...]) -> socket.socket:
    """A socket for an address as `getaddrinfo` gives it, which tells of a vanished peer within SILENCE_LIMIT_S."""
    family, kind, protocol, *_ = address
    made = socket.socket(family, kind, protocol)
    made.setblocking(False)
    for level, name, value in _keepalive_options():
        made.setsockopt(level, name, value)
    return made


def _keepalive_options() -> list[tuple[int, int, int]]:
    options = [(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)]
    for name, value in (
        ("TCP_KEEPIDLE", 15),
        ("TCP_KEEPINTVL", 5),
        ("TCP_KEEPCNT", 3),
        ("TCP_USER_TIMEOUT", SILENCE_LIMIT_S * 1000),  # unacknowledged data, which keepalive does not cover
    ):
        if hasattr(socket, name):
            options.append((socket.IPPROTO_TCP, getattr(socket, name), value))
    return options
