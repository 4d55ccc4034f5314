"""Where the API server is and who we are to it, for every client library alike.

Duty: read a kubeconfig or the pod's service account once, and hand out the TLS context and the current credentials. It
must not send requests. Callers: the process's wiring, `client.py`, and the watches.
"""

from __future__ import annotations

import socket
import ssl
from dataclasses import dataclass
from pathlib import Path

import httpx2
from lightkube.config.client_adapter import user_auth, verify_cluster
from lightkube.config.kubeconfig import SERVICE_ACCOUNT, KubeConfig, SingleConfig
from lightkube.core.exceptions import ConfigError

# A connection whose peer vanished without a word is given up after this long (see `keepalive_options`).
SILENCE_LIMIT_S = 30
CONNECTIONS = 24  # more at once only make a busy API server slower, and each call looks at all of them
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
        """The Authorization header as of now; service account tokens are rotated on disk and read again here."""
        auth = user_auth(self.config.user)
        if auth is None:
            return None
        request = next(auth.sync_auth_flow(httpx2.Request("GET", self.server)))
        return request.headers.get("Authorization")

    def http_client(self, *, timeout_s: float) -> httpx2.AsyncClient:
        """A client that authenticates each request, follows token rotation and gives up silent connections."""
        transport = httpx2.AsyncHTTPTransport(
            verify=self.ssl_context() or True,
            limits=httpx2.Limits(
                max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS, keepalive_expiry=60
            ),
            socket_options=keepalive_options(),
        )
        return httpx2.AsyncClient(
            base_url=self.server,
            auth=user_auth(self.config.user),
            transport=transport,
            timeout=timeout_s,
            headers={"User-Agent": USER_AGENT},
        )


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


def keepalive_options() -> list[tuple[int, int, int]]:
    """Socket options under which a connection with a vanished peer dies within SILENCE_LIMIT_S."""
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
