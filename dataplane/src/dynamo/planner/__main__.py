"""`python -m dynamo.planner`: reads settings, connects to the cluster, plans until SIGTERM or SIGINT."""

from __future__ import annotations

import asyncio
import os
import sys

import httpx2
from lightkube import AsyncClient, KubeConfig
from lightkube import ConfigError as KubeConfigError

from dynamo.planner.cluster import ClusterConnector, Target
from dynamo.planner.connector import Advisory, Connector
from dynamo.planner.errors import ConfigError, PlannerError
from dynamo.planner.exposition import Exposition
from dynamo.planner.loop import Planner
from dynamo.planner.measure import Measure, Scope
from dynamo.planner.scrape import Scraper
from dynamo.planner.settings import FLAGS, Settings, read_settings
from dynamo.planner.status import StatusServer
from dynamo.process.flags import usage
from dynamo.process.logs import EventLog, start_logging
from dynamo.process.signals import stop_on_signals

ABOUT = "Scales a graph's workers to its load and its latency targets."
CALL_TIMEOUT_S = 10.0


def main() -> int:
    if "--help" in sys.argv[1:] or "-h" in sys.argv[1:]:
        print(usage("python -m dynamo.planner", ABOUT, list(FLAGS)))
        return 0
    log = start_logging(os.environ)
    try:
        settings, warnings = read_settings(sys.argv[1:], os.environ)
        for warning in warnings:
            log.warning("setting_ignored", reason=warning)
        asyncio.run(_run_until_stopped(settings, log))
    except ConfigError as error:
        log.error("planner_cannot_start", message=str(error))
        return 2
    except PlannerError as error:
        log.error("planner_cannot_start", message=str(error))
        return 1
    finally:
        log.flush()
    return 0


async def _run_until_stopped(settings: Settings, log: EventLog) -> None:
    with stop_on_signals() as stop:
        await _run(settings, log, stop)


async def _run(settings: Settings, log: EventLog, stop: asyncio.Event) -> None:
    config, policy = settings.config, settings.config.policy()
    connector, scraper, exposition = _connector(settings, log), Scraper(), Exposition(policy)
    planner = Planner(
        connector,
        scraper,
        Measure(Scope(settings.metrics_prefix, config.model_name), policy.pace.tick_s),
        policy,
        exposition,
        log,
        is_advisory=config.advisory or config.environment == "virtual",
    )
    server = StatusServer(exposition.text, planner.is_alive, lambda: not stop.is_set())
    try:
        await server.start("DYN_SYSTEM_PORT", settings.system_host, settings.system_port)
        if settings.metrics_port and settings.metrics_port != settings.system_port:
            await server.start("PLANNER_PROMETHEUS_PORT", settings.system_host, settings.metrics_port)
        log.info(
            "planner_started",
            graph=settings.graph,
            mode=config.mode,
            target=config.optimization_target,
            tick_s=policy.pace.tick_s,
            settle_s=policy.pace.settle_s,
            advisory=config.advisory,
        )
        await planner.run(stop)
        log.info("planner_stopped")
    finally:
        await server.close()
        await scraper.close()
        await connector.close()


def _connector(settings: Settings, log: EventLog) -> Connector:
    if settings.config.environment == "virtual":
        return Advisory(settings.processes.frontends, settings.processes.workers)
    try:
        config = KubeConfig.from_env()
        client = AsyncClient(config=config, timeout=httpx2.Timeout(CALL_TIMEOUT_S), trust_env=False)
    except KubeConfigError as error:
        raise ConfigError(f"no way to the API server: {error}; run in a pod or set KUBECONFIG") from error
    namespace = settings.graph_namespace or client.namespace
    target = Target(namespace, settings.graph, settings.config.mode, settings.config.gpus())
    return ClusterConnector(client, target, log)


if __name__ == "__main__":
    sys.exit(main())
