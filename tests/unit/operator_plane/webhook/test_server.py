"""The server over real TLS: it waits for its certificate, changes it under traffic, and ends cleanly."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import datetime
import json
import socket
import ssl
import warnings
from collections.abc import AsyncIterator
from dataclasses import replace

import httpx
import pytest

from dynamo_operator.kube import Document, Forbidden, Unreachable
from dynamo_operator.webhook import HOOKS, WebhookServer, WebhookSettings, upkeep
from dynamo_operator.webhook.certificates import ANNOUNCEMENT, LIFETIME, RENEW_BEFORE
from tests.unit.operator_plane.validate.manifests import a_graph
from tests.unit.operator_plane.webhook.factories import MemoryKube, a_context, a_review
from tests.unit.operator_plane.webhook.test_app import Counted

SETTINGS = WebhookSettings("default", port=0, extra_names=("localhost",))
NOW = datetime.datetime.now(datetime.UTC)
DEADLINE_S = 10


class Clock:
    """Certificates are issued by it; TLS itself goes by the machine's."""

    def __init__(self) -> None:
        self.time = NOW

    def now(self) -> datetime.datetime:
        return self.time


@contextlib.asynccontextmanager
async def serving(kube: MemoryKube, clock: Clock, settings: WebhookSettings = SETTINGS) -> AsyncIterator[WebhookServer]:
    server = WebhookServer(settings, kube, a_context, Counted(), now=clock.now)
    task = asyncio.create_task(server.serve())
    try:
        async with asyncio.timeout(DEADLINE_S):
            await server.listening.wait()
        yield server
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def a_client(server: WebhookServer, trusted: str = "") -> httpx.AsyncClient:
    context = ssl.create_default_context(cadata=trusted or server.trusted)
    return httpx.AsyncClient(base_url=f"https://localhost:{server.port}", verify=context, trust_env=False)


async def admitted(client: httpx.AsyncClient) -> bool:
    content = json.dumps(a_review(a_graph())).encode()
    answer = await client.post(HOOKS[0].path, content=content, headers={"Content-Type": "application/json"})
    return bool(answer.json()["response"]["allowed"])


async def served_by(server: WebhookServer) -> bytes:
    """The certificate that a new connection gets."""
    context = ssl.create_default_context(cadata=server.trusted)
    _, writer = await asyncio.open_connection("localhost", server.port, ssl=context)
    certificate = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.close()
    await writer.wait_closed()
    return bytes(certificate)


async def test_it_serves_what_it_put_in_the_secret_and_a_restart_serves_the_same() -> None:
    kube, clock = MemoryKube(), Clock()
    async with serving(kube, clock) as first, a_client(first) as client:
        assert await admitted(client)
        trusted = first.trusted
    async with serving(kube, clock) as second, a_client(second, trusted) as client:
        assert await admitted(client)
        assert second.trusted == trusted


async def test_certificates_change_under_traffic_without_a_failed_request() -> None:
    kube, clock = MemoryKube(), Clock()
    clock.time = NOW - LIFETIME + RENEW_BEFORE  # the first one is valid today, and due soon
    async with serving(kube, clock) as server, a_client(server) as standing:
        first, first_served = server.trusted, await served_by(server)
        assert await admitted(standing)
        clock.time = NOW
        await server._upkeep.round()
        announced = server.trusted
        assert announced != first
        assert await served_by(server) == first_served
        async with a_client(server, first) as unaware:  # has not heard of the announcement yet
            assert await admitted(unaware)
        clock.time += ANNOUNCEMENT
        await server._upkeep.round()
        assert await served_by(server) != first_served
        assert await admitted(standing)
        async with a_client(server, announced) as aware:
            assert await admitted(aware)
        assert kube.objects[SETTINGS.secret_name]["data"].keys() == {"tls.crt", "tls.key", "ca.crt"}


async def test_it_waits_for_the_api_server_before_it_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upkeep, "RETRY_S", (0.01,))
    kube = MemoryKube()
    kube.failure = Unreachable("connection refused")
    tried = asyncio.Event()
    get = kube.get

    async def watched(ref):  # type: ignore[no-untyped-def]
        tried.set()
        return await get(ref)

    kube.get = watched  # type: ignore[method-assign]
    server = WebhookServer(SETTINGS, kube, a_context, Counted())
    task = asyncio.create_task(server.serve())
    try:
        async with asyncio.timeout(DEADLINE_S):
            await tried.wait()
            assert not server.listening.is_set()
            kube.failure = None
            await server.listening.wait()
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def test_it_answers_at_an_address_only_with_a_certificate_that_it_trusts() -> None:
    async with serving(MemoryKube(), Clock()) as server, serving(MemoryKube(), Clock()) as stranger:
        assert not await server.answers_at("localhost", stranger.port)
        assert await server.answers_at("localhost", server.port)
        assert await server.answers_at("localhost", stranger.port)  # a yes is kept for a while


async def test_it_does_not_answer_through_a_service_that_is_not_there() -> None:
    async with serving(MemoryKube(), Clock()) as server:
        assert not await server.answers_at("localhost", unused_port())


async def test_it_is_not_reachable_before_api_servers_trust_it(monkeypatch: pytest.MonkeyPatch) -> None:
    kube = MemoryKube()
    kube.objects["dynamo-operator-validating"] = {"metadata": {"name": "x"}, "webhooks": [a_hook()]}
    kube.patch_failure = Forbidden("may not patch")
    monkeypatch.setattr(upkeep, "RETRY_S", (0.01,))
    async with serving(kube, Clock()) as server:
        assert not await server.answers_at("localhost", server.port)
        kube.patch_failure = None
        await server._upkeep.round()
        assert await server.answers_at("localhost", server.port)


async def test_a_ca_that_somebody_removes_is_injected_again() -> None:
    kube = MemoryKube()
    async with serving(kube, Clock(), replace(SETTINGS, check_interval_s=0.1)) as server:
        await server._upkeep.round()
        kube.objects["dynamo-operator-validating"] = {"metadata": {"name": "x"}, "webhooks": [a_hook()]}
        kube.written.clear()
        async with asyncio.timeout(DEADLINE_S):
            await kube.written.wait()
        hook = kube.objects["dynamo-operator-validating"]["webhooks"][0]
        assert base64.b64decode(hook["clientConfig"]["caBundle"]).decode() == server.trusted


async def test_a_port_that_is_taken_is_an_error() -> None:
    with socket.socket() as other:
        other.bind(("", 0))
        other.listen()
        settings = WebhookSettings("default", host="0.0.0.0", port=other.getsockname()[1])
        with pytest.raises(OSError, match="in use"):
            await WebhookServer(settings, MemoryKube(), a_context, Counted()).serve()


async def test_old_tls_is_refused() -> None:
    async with serving(MemoryKube(), Clock()) as server:
        context = ssl.create_default_context(cadata=server.trusted)
        context.set_ciphers("DEFAULT:@SECLEVEL=0")
        with warnings.catch_warnings(action="ignore"):
            context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
        with pytest.raises(OSError, match=r"^$|SSL|TLS"):  # an alert or a reset
            await asyncio.open_connection("localhost", server.port, ssl=context)


def unused_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def a_hook() -> Document:
    return {"name": "a.kb.io", "clientConfig": {}}
