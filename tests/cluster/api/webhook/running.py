"""The webhook server in a thread of its own, with a real client, as the operator's process would run it."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import threading
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

from dynamo_operator.kube.access import find_access
from dynamo_operator.kube.client import Client
from dynamo_operator.kube.connections import Connections
from dynamo_operator.validate import Context
from dynamo_operator.webhook import AdmissionContext, Reach, WebhookServer, WebhookSettings
from tests.cluster.access import Access

OPERATOR = "system:serviceaccount:dynamo-system:dynamo-operator"
NAMESPACE = "default"
START_S = 100

T = TypeVar("T")


@dataclass
class Counted:
    """An observer that keeps what it is told."""

    answers: list[tuple[str, str, tuple[str, ...]]] = field(default_factory=list)

    def answered(self, operation: str, result: str, duration_s: float, *, denied_fields: tuple[str, ...] = ()) -> None:
        self.answers.append((operation, result, denied_fields))


@dataclass
class Facts:
    """What the server judges against; a test may change it while the server runs."""

    cluster: Context = field(default_factory=Context)

    def context(self) -> AdmissionContext:
        return AdmissionContext(self.cluster, "1.5.0", frozenset({OPERATOR}))


@dataclass
class Running:
    """A serving server: its loop for coroutines, its port, and the way that an API server takes to it."""

    server: WebhookServer
    loop: asyncio.AbstractEventLoop
    observer: Counted

    def call(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(START_S)

    @property
    def reach(self) -> Reach:
        return Reach(url=f"https://localhost:{self.server.port}", trusted=self.server.trusted)


def settings(**fields: Any) -> WebhookSettings:
    defaults: dict[str, Any] = {"namespace": NAMESPACE, "host": "", "port": 0, "extra_names": ("localhost",)}
    return WebhookSettings(**{**defaults, **fields})


def utc_now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


@contextlib.contextmanager
def running_server(
    access: Access,
    settings: WebhookSettings,
    facts: Facts,
    *,
    now: Callable[[], datetime.datetime] = utc_now,
) -> Iterator[Running]:
    """Serves until the block ends; then the thread is gone and its socket closed."""
    started: list[Running] = []
    is_ready, stop = threading.Event(), asyncio.Event()
    failures: list[BaseException] = []

    async def main() -> None:
        client = Client(Connections(find_access(access.kubeconfig), timeout_s=10))
        observer = Counted()
        server = WebhookServer(settings, client, facts.context, observer, now=now)
        serving = asyncio.create_task(server.serve())
        listening = asyncio.create_task(server.listening.wait())
        await asyncio.wait({serving, listening}, return_when=asyncio.FIRST_COMPLETED)
        started.append(Running(server, asyncio.get_running_loop(), observer))
        is_ready.set()
        await stop.wait()
        serving.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await serving
        await client.close()

    def run() -> None:
        try:
            asyncio.run(main())
        except BaseException as error:  # the test's thread reports it
            failures.append(error)
            is_ready.set()

    thread = threading.Thread(target=run, name="webhook-server")
    thread.start()
    try:
        assert is_ready.wait(START_S), "the webhook server did not start"
        assert not failures, failures
        yield started[0]
    finally:
        if started:
            started[0].loop.call_soon_threadsafe(stop.set)
        thread.join(START_S)
    assert not failures, failures
