"""`python -m dynamo_operator`: the operator's process. Wiring only."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime

import httpx2
import uvloop
from prometheus_client import CollectorRegistry

from dynamo_operator.handlers.claims import CLAIM_NAME, Claims
from dynamo_operator.handlers.election import Election, Timing, Unopposed
from dynamo_operator.handlers.facts import Served, admission_facts, is_served, render_context
from dynamo_operator.handlers.feed import Feed
from dynamo_operator.handlers.logs import start_logging
from dynamo_operator.handlers.metrics import Metrics
from dynamo_operator.handlers.options import Process, own_process, read_options
from dynamo_operator.handlers.queue import Queue
from dynamo_operator.handlers.running import Operator, Parts, ServiceEnded
from dynamo_operator.handlers.serving import Page, serving
from dynamo_operator.handlers.settings import BadSettings, Settings, load_settings
from dynamo_operator.handlers.store import LiveStore
from dynamo_operator.handlers.watching import Watched, Watching
from dynamo_operator.kube import Access, Client, Kind, KubeError, NoAccess, Ref, find_access, own_namespace
from dynamo_operator.kube.objects import COMPONENT_DEPLOYMENT, GRAPH, LEASE, MODEL, SCALING_ADAPTER
from dynamo_operator.reconcile import Controller
from dynamo_operator.render import RenderContext
from dynamo_operator.render.context import CONTRACT_VERSION
from dynamo_operator.webhook import AdmissionContext, WebhookServer

COUNTED_KINDS = (GRAPH, COMPONENT_DEPLOYMENT, SCALING_ADAPTER, MODEL)
CALL_TIMEOUT_S = 15.0
LEASE_DEADLINE_S = 3.0
API_RETRY_S = 2.0
SERVICE_ACCOUNT_NAME = "dynamo-operator"

log = logging.getLogger(__name__)


def main(arguments: Sequence[str] = ()) -> int:
    """The exit status: 0 after a drain, 1 when a part failed, 2 for a configuration that cannot be used."""
    options = read_options(arguments)
    try:
        settings = load_settings(options.config)
        access = find_access(options.kubeconfig)
    except (BadSettings, NoAccess) as error:
        print(f"dynamo_operator: {error}", file=sys.stderr)
        return 2
    start_logging(settings.logging.level, settings.logging.format)
    try:
        uvloop.run(operate(settings, access, own_process()))
    except ServiceEnded as error:
        log.error("ended error=%r", str(error))
        return 1
    return 0


async def operate(settings: Settings, access: Access, process: Process) -> None:
    stop = _stop_on_signals()
    async with AsyncExitStack() as stack:
        http = await stack.enter_async_context(access.http_client(timeout_s=CALL_TIMEOUT_S))
        served = await _until_served(Client(http), stop)
        if served is None:
            return
        namespace = process.namespace or own_namespace(access)
        metrics = Metrics(CollectorRegistry())
        webhook = _webhook(settings, Client(http), namespace, served, metrics)
        operator = _operator(settings, access, http, namespace, process, served, metrics, webhook)
        server = settings.server
        await stack.enter_async_context(
            serving(operator.pages, port=server.health_probe.port, host=server.health_probe.bind_address)
        )
        await stack.enter_async_context(
            serving({"/metrics": _metrics_page(metrics)}, port=server.metrics.port, host=server.metrics.bind_address)
        )
        log.info("started version=%s identity=%s", process.version, process.identity)
        await operator.run(stop)
        log.info("stopped")


def _operator(
    settings: Settings,
    access: Access,
    http: httpx2.AsyncClient,
    namespace: str,
    process: Process,
    served: Served,
    metrics: Metrics,
    webhook: WebhookServer | None,
) -> Operator:
    restricted = settings.namespace.restricted
    store = LiveStore()
    claims = Claims(clock=_clock, on_release=lambda name: queue.mark_all(feed.work_in(name)))
    queue = Queue(metrics, admits=claims.admits)
    leadership = _leadership(settings, http, namespace, process)
    kube = Client(http, fence=leadership.fence, on_written=lambda packed: feed.take(packed))
    controllers = _controllers(kube, store, render_context(settings, served))
    kinds = _watched_kinds(controllers, served, with_claims=not restricted)
    feed = Feed(store, queue, controllers, expected=kinds, on_change=claims.note)
    metrics.watch_store(store, COUNTED_KINDS, lambda: queue.depth)
    watched = Watched(kinds, restricted, {LEASE: f"metadata.name={CLAIM_NAME}"})
    parts = Parts(
        feed=feed,
        queue=queue,
        leadership=leadership,
        watching=Watching(access, watched, feed, clock=_clock, on_restart=metrics.watching_restarted),
        claim=_claim(settings, http, process) if restricted else None,
        services={"webhook server": webhook.serve} if webhook else {},
        questions={"webhook": webhook.answers_through_service} if webhook else {},
        on_lead=metrics.led,
    )
    return Operator(parts)


def _controllers(kube: Client, store: LiveStore, context: RenderContext) -> tuple[Controller, ...]:
    return ()


def _watched_kinds(controllers: Sequence[Controller], served: Served, *, with_claims: bool) -> tuple[Kind, ...]:
    """A kind that the cluster does not serve is not waited for."""
    wanted = [*COUNTED_KINDS, *(kind for controller in controllers for kind in controller.watched_kinds)]
    wanted += [LEASE] if with_claims else []
    return tuple(kind for kind in dict.fromkeys(wanted) if is_served(kind, served))


def _leadership(settings: Settings, http: httpx2.AsyncClient, namespace: str, process: Process) -> Election | Unopposed:
    election = settings.leader_election
    if not election.enabled:
        return Unopposed()
    ref = Ref(LEASE, election.namespace or namespace, election.id)
    api = Client(http, deadline_s=LEASE_DEADLINE_S, tries=1)
    return Election(api, ref, process.identity, clock=_clock, now=_now)


def _claim(settings: Settings, http: httpx2.AsyncClient, process: Process) -> Election:
    """Held by all replicas under one name, which tells the version."""
    scope = settings.namespace.scope
    ref = Ref(LEASE, settings.namespace.restricted, CLAIM_NAME)
    timing = Timing(scope.lease_duration, scope.lease_renew_interval, retry_s=2.0, margin_s=0.0)
    api = Client(http, deadline_s=LEASE_DEADLINE_S, tries=1)
    return Election(api, ref, f"dynamo-operator/{process.version}", clock=_clock, now=_now, timing=timing)


def _webhook(
    settings: Settings, kube: Client, namespace: str, served: Served, metrics: Metrics
) -> WebhookServer | None:
    """Every replica serves, so its writes wait for no lease."""
    if not settings.server.webhook.enabled:
        return None
    context = AdmissionContext(
        cluster=admission_facts(settings, served),
        operator_version=CONTRACT_VERSION,
        scaler_users=frozenset({f"system:serviceaccount:{namespace}:{SERVICE_ACCOUNT_NAME}"}),
    )
    return WebhookServer(settings.webhook_settings(namespace), kube, lambda: context, metrics)


def _metrics_page(metrics: Metrics) -> Callable[[], Awaitable[Page]]:
    async def page() -> Page:
        return Page(200, metrics.render(), "text/plain; version=0.0.4; charset=utf-8")

    return page


async def _until_served(kube: Client, stop: asyncio.Event) -> Served | None:
    """The kinds that the API server serves, once it answers; None when stopped before."""
    while not stop.is_set():
        try:
            return await kube.served()
        except KubeError as error:
            log.warning("waiting_for_api_server error=%r", str(error))
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), timeout=API_RETRY_S)
    return None


def _stop_on_signals() -> asyncio.Event:
    stop = asyncio.Event()
    for signal_ in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(signal_, stop.set)
    return stop


def _clock() -> float:
    """Counts on while the process is stopped and while the machine sleeps: what was held may be another's by then."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def _now() -> datetime:
    return datetime.now(UTC)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
