"""The HTTPS server behind the webhooks: one listening socket, certificates that change under traffic, a clean end.

Duty: run uvicorn with the routes of `app` and the certificates of `upkeep`, and say whether the API server's way to us
works. Built and awaited by the operator's wiring.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import logging
import os
import socket
import ssl
from collections.abc import Callable, Iterator

import uvicorn

from dynamo_operator.webhook.admission import AdmissionContext
from dynamo_operator.webhook.app import create_app
from dynamo_operator.webhook.certificates import Pair
from dynamo_operator.webhook.configurations import HEALTH_PATH
from dynamo_operator.webhook.custody import custody_of
from dynamo_operator.webhook.errors import BadCertificates
from dynamo_operator.webhook.ports import Kube, Observer
from dynamo_operator.webhook.settings import WebhookSettings
from dynamo_operator.webhook.upkeep import Upkeep

log = logging.getLogger(__name__)

SERVICE_PORT = 443
KEEP_ALIVE_S = 120  # Longer than the 90 s after which API servers drop idle connections: they never meet a closed one.
SHUTDOWN_S = 5
PROBE_DEADLINE_S = 3.0
PROBE_VALID_S = 30.0


class WebhookServer:
    """`serve` runs until cancelled; `context` is asked at every request."""

    def __init__(
        self,
        settings: WebhookSettings,
        kube: Kube,
        context: Callable[[], AdmissionContext],
        observer: Observer,
        *,
        now: Callable[[], datetime.datetime] = lambda: datetime.datetime.now(datetime.UTC),
    ) -> None:
        self._settings = settings
        self._tls = _tls_context()
        self._upkeep = Upkeep(custody_of(settings, kube, now), kube, settings, self._use)
        self._app = create_app(context, observer)
        self._answered_until = 0.0
        self.listening = asyncio.Event()
        self.port = 0

    @property
    def trusted(self) -> str:
        """The authorities (PEM) that sign or will sign what is served; empty before the first certificate."""
        return self._upkeep.material.trusted if self._upkeep.material else ""

    async def serve(self) -> None:
        """Listens as soon as there is a certificate; raises OSError when the port is taken."""
        with _bound_socket(self._settings.host, self._settings.port) as listener:
            self.port = listener.getsockname()[1]
            async with asyncio.TaskGroup() as group:
                upkeep = group.create_task(self._upkeep.run(), name="webhook certificates")
                await self._upkeep.served.wait()
                try:
                    await self._serve_http(listener)
                finally:
                    upkeep.cancel()

    async def answers_through_service(self) -> bool:
        """Whether an API server could reach us now: we are trusted, and our Service leads to a server that is.

        A yes is kept for half a minute, so that a readiness probe every few seconds costs nothing.
        """
        settings = self._settings
        return await self.answers_at(f"{settings.service_name}.{settings.namespace}.svc", SERVICE_PORT)

    async def answers_at(self, host: str, port: int) -> bool:
        """The same through another address."""
        clock = asyncio.get_running_loop().time
        if not self._upkeep.is_trusted:
            return False
        if clock() < self._answered_until:
            return True
        try:
            async with asyncio.timeout(PROBE_DEADLINE_S):
                answers = await _is_healthy(host, port, self._settings.dns_names[0], self.trusted)
        except (OSError, TimeoutError) as error:  # ssl.SSLError is an OSError
            log.info("webhook not reachable through its Service yet: %s", error, extra={"host": host})
            return False
        if answers:
            self._answered_until = clock() + PROBE_VALID_S
        return answers

    def _use(self, pair: Pair) -> None:
        """New connections get this certificate; those that stand keep theirs."""
        with _unlinked_file(pair.certificate + pair.key) as path:
            try:
                self._tls.load_cert_chain(path)
            except ssl.SSLError as error:
                raise BadCertificates(f"certificate and key cannot be served: {error}") from error

    async def _serve_http(self, listener: socket.socket) -> None:
        config = uvicorn.Config(
            self._app,
            loop="none",
            http="httptools",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=SHUTDOWN_S,
        )
        config.load()
        config.ssl = self._tls
        server = _Server(config)
        serving = asyncio.create_task(server.serve([listener]), name="webhook server")
        try:
            self.listening.set()
            log.info("webhook server listens", extra={"port": self.port})
            await asyncio.shield(serving)
        finally:
            server.should_exit = True
            await serving


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals are the process's matter."""
        yield


def _bound_socket(host: str, port: int) -> socket.socket:
    """Bound, not yet listening; without a host for IPv4 and, where the machine has it, IPv6."""
    is_dual = not host and socket.has_dualstack_ipv6()
    listener = socket.socket(socket.AF_INET6 if is_dual or ":" in host else socket.AF_INET)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if is_dual:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        listener.bind((host, port))
    except OSError:
        listener.close()
        raise
    return listener


def _tls_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


@contextlib.contextmanager
def _unlinked_file(text: str) -> Iterator[str]:
    """A file in memory alone: the ssl module reads keys from files only, and a key must not reach a disk."""
    descriptor = os.memfd_create("webhook-certificate")
    try:
        os.write(descriptor, text.encode())
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)


async def _is_healthy(host: str, port: int, name: str, trusted: str) -> bool:
    context = ssl.create_default_context(cadata=trusted) if trusted else ssl.create_default_context()
    reader, writer = await asyncio.open_connection(host, port, ssl=context, server_hostname=name)
    try:
        writer.write(f"GET {HEALTH_PATH} HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n".encode())
        await writer.drain()
        return b" 200 " in await reader.readline()
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
