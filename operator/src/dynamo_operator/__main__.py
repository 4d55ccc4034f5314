"""`python -m dynamo_operator`: the operator's process. Wiring only."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime

import httpx2
import uvloop
from prometheus_client import CollectorRegistry

from dynamo_operator.handlers.claims import CLAIM_NAME, Claims
from dynamo_operator.handlers.election import Election, Timing, Unopposed
from dynamo_operator.handlers.facts import JUDGED_BY, Served, admission_facts, is_served, render_context
from dynamo_operator.handlers.feed import Feed
from dynamo_operator.handlers.logs import start_logging
from dynamo_operator.handlers.metrics import Metrics
from dynamo_operator.handlers.neighbours import Neighbours, Refusals, Wanted, until_served
from dynamo_operator.handlers.options import Process, own_process, read_options
from dynamo_operator.handlers.queue import Queue
from dynamo_operator.handlers.running import Operator, Parts, ServiceEnded
from dynamo_operator.handlers.serving import Page, serving
from dynamo_operator.handlers.settings import BadSettings, Settings, load_settings
from dynamo_operator.handlers.store import LiveStore
from dynamo_operator.handlers.watching import Watched, Watching
from dynamo_operator.kube import Access, Client, Connections, NoAccess, Packed, Ref, Way, find_access, own_namespace
from dynamo_operator.kube.objects import COMPONENT_DEPLOYMENT, ENDPOINT_SLICE, GRAPH, LEASE, MODEL, SCALING_ADAPTER
from dynamo_operator.reconcile import (
    ComponentDeploymentController,
    Controller,
    FrontendAdmission,
    GraphController,
    HttpWorkers,
    ModelController,
    ScalingAdapterController,
    Surroundings,
)
from dynamo_operator.render import names
from dynamo_operator.render.context import CONTRACT_VERSION
from dynamo_operator.webhook import AdmissionContext, WebhookServer

COUNTED_KINDS = (GRAPH, COMPONENT_DEPLOYMENT, SCALING_ADAPTER, MODEL)
CALL_TIMEOUT_S = 15.0
LEASE_DEADLINE_S = 3.0
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
    for warning in settings.warnings:
        log.warning("setting_without_effect reason=%r", warning)
    try:
        uvloop.run(operate(settings, access, own_process()))
    except ServiceEnded as error:
        log.error("ended error=%r", str(error))
        return 1
    return 0


@dataclass(frozen=True, slots=True)
class Setup:
    """What everything is built from. `way` leads to the API server, `pods` reaches the pods of graphs.

    lease_way: one to the API server that no other call can be in front of.
    """

    settings: Settings
    access: Access
    process: Process
    namespace: str
    served: Served
    way: Way
    lease_way: Way
    pods: httpx2.AsyncClient
    metrics: Metrics


async def operate(settings: Settings, access: Access, process: Process) -> None:
    stop = _stop_on_signals()
    async with AsyncExitStack() as stack:
        way = await stack.enter_async_context(Connections(access, timeout_s=CALL_TIMEOUT_S))
        lease_way = await stack.enter_async_context(Connections(access, timeout_s=LEASE_DEADLINE_S))
        pods = await stack.enter_async_context(httpx2.AsyncClient(trust_env=False))
        served = await until_served(Client(way), stop)
        if served is None:
            return
        namespace = process.namespace or own_namespace(access)
        setup = Setup(settings, access, process, namespace, served, way, lease_way, pods, Metrics(CollectorRegistry()))
        operator = _operator(setup)
        health, metrics = settings.server.health_probe, settings.server.metrics
        metrics_pages = {"/metrics": _metrics_page(setup.metrics)}
        await stack.enter_async_context(serving(operator.pages, port=health.port, host=health.bind_address))
        await stack.enter_async_context(serving(metrics_pages, port=metrics.port, host=metrics.bind_address))
        log.info("started version=%s identity=%s", process.version, process.identity)
        await operator.run(stop)
        log.info("stopped")


def _operator(setup: Setup) -> Operator:
    metrics, restricted = setup.metrics, setup.settings.namespace.restricted
    store = LiveStore()
    claims = Claims(clock=_clock, on_release=lambda name: queue.mark_all(feed.work_in(name)))
    queue = Queue(metrics, admits=claims.admits)
    leadership = _leadership(setup)
    wanted = _wanted_kinds(with_claims=not restricted)
    neighbours = Neighbours(Client(setup.way), wanted, setup.served, unlisted=lambda: feed.unlisted)

    def note_written(packed: Packed) -> None:
        feed.take(packed)
        neighbours.wrote(packed)

    def note_restart() -> None:
        metrics.watching_restarted()
        feed.begin_anew()
        neighbours.doubt("the watches begin anew")

    def note_leading(is_leading: bool) -> None:
        """A standby does no passes, in which it would have met what came and went."""
        metrics.led(is_leading)
        if is_leading:
            neighbours.doubt("begins to lead")

    kube = Client(setup.way, fence=leadership.fence, on_written=note_written)
    surroundings = Surroundings(
        kube,
        store,
        render_context(setup.settings, setup.served),
        monotonic=_clock,
        on_lack=neighbours.doubt,
        is_pressed=queue.is_pressed,
        slack_s=queue.slack_s,
    )
    controllers = _controllers(setup, kube, surroundings)
    # A kind that the cluster does not serve is not waited for.
    kinds = tuple(kind for kind in sorted(wanted.kinds) if is_served(kind, setup.served))
    feed = Feed(store, queue, controllers, expected=kinds, on_change=claims.note)
    metrics.watch_store(store, COUNTED_KINDS, lambda: queue.depth)
    watched = Watched(
        kinds,
        restricted,
        field_selectors={LEASE: f"metadata.name={CLAIM_NAME}"},
        label_selectors={ENDPOINT_SLICE: names.BASE_MODEL_HASH},
    )
    webhook = _webhook(setup, neighbours) if setup.settings.server.webhook.enabled else None
    parts = Parts(
        feed=feed,
        queue=queue,
        leadership=leadership,
        watching=Watching(setup.access, watched, feed, clock=_clock, on_restart=note_restart),
        claim=_claim(setup) if restricted else None,
        services={"neighbours": neighbours.run, **({"webhook server": webhook.serve} if webhook else {})},
        questions={"webhook": webhook.answers_through_service} if webhook else {},
        on_lead=note_leading,
    )
    return Operator(parts)


def _controllers(setup: Setup, kube: Client, surroundings: Surroundings) -> tuple[Controller, ...]:
    return (
        GraphController(surroundings, FrontendAdmission(kube, setup.pods)),
        ComponentDeploymentController(surroundings),
        ScalingAdapterController(surroundings),
        ModelController(surroundings, HttpWorkers(setup.pods)),
    )


def _wanted_kinds(*, with_claims: bool) -> Wanted:
    classes = (GraphController, ComponentDeploymentController, ScalingAdapterController, ModelController)
    kinds = {*COUNTED_KINDS, *(kind for each in classes for kind in each.watched_kinds)}
    return Wanted(frozenset(kinds | {LEASE} if with_claims else kinds), frozenset(COUNTED_KINDS), JUDGED_BY)


def _leadership(setup: Setup) -> Election | Unopposed:
    election = setup.settings.leader_election
    if not election.enabled:
        return Unopposed()
    ref = Ref(LEASE, election.namespace or setup.namespace, election.id)
    return Election(_lease_client(setup), ref, setup.process.identity, clock=_clock, now=_now)


def _claim(setup: Setup) -> Election:
    """Held by all replicas under one name, which tells the version."""
    namespace = setup.settings.namespace
    ref = Ref(LEASE, namespace.restricted, CLAIM_NAME)
    timing = Timing(namespace.scope.lease_duration, namespace.scope.lease_renew_interval, retry_s=2.0, margin_s=0.0)
    holder = f"dynamo-operator/{setup.process.version}"
    return Election(_lease_client(setup), ref, holder, clock=_clock, now=_now, timing=timing)


def _lease_client(setup: Setup) -> Client:
    return Client(setup.lease_way, deadline_s=LEASE_DEADLINE_S, tries=1)


def _webhook(setup: Setup, neighbours: Neighbours) -> WebhookServer:
    """Every replica serves, so its writes wait for no lease."""
    context = AdmissionContext(
        cluster=admission_facts(setup.settings, setup.served),
        operator_version=CONTRACT_VERSION,
        scaler_users=frozenset({f"system:serviceaccount:{setup.namespace}:{SERVICE_ACCOUNT_NAME}"}),
    )
    settings = setup.settings.webhook_settings(setup.namespace)
    return WebhookServer(settings, Client(setup.way), lambda: context, Refusals(setup.metrics, neighbours))


def _metrics_page(metrics: Metrics) -> Callable[[], Awaitable[Page]]:
    async def page() -> Page:
        return Page(200, metrics.render(), "text/plain; version=0.0.4; charset=utf-8")

    return page


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
