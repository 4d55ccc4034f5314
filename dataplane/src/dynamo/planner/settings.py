"""Command line and environment of the planner, read once at start into frozen values. Called by `__main__`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dynamo.planner.config import PlannerConfig, read_config
from dynamo.planner.errors import ConfigError
from dynamo.planner.sight import Source
from dynamo.process.flags import Flag, FlagError, number, parse_flags
from dynamo.wire.cards import Role

_PORT = number(int, least=0, most=65535)

FLAGS: tuple[Flag, ...] = (Flag("--config", str, None, (), "Settings: a path, or a document in JSON or YAML."),)
ENV: tuple[Flag, ...] = (
    Flag("--graph", str, "", ("DYN_PARENT_DGD_K8S_NAME",)),
    Flag("--graph-namespace", str, "", ("DYN_PARENT_DGD_K8S_NAMESPACE", "POD_NAMESPACE")),
    Flag("--metrics-prefix", str, "dynamo_frontend", ("DYN_METRICS_PREFIX",)),
    Flag("--system-host", str, "0.0.0.0", ("DYN_SYSTEM_HOST",)),  # noqa: S104 - probes come from the node
    Flag("--system-port", _PORT, 9090, ("DYN_SYSTEM_PORT",)),
    Flag("--metrics-port", _PORT, 0, ("PLANNER_PROMETHEUS_PORT",)),
    Flag("--frontend-urls", str, "", ("DYN_PLANNER_FRONTEND_URLS",)),
    Flag("--worker-urls", str, "", ("DYN_PLANNER_WORKER_URLS",)),
)
"""Settings that come from the environment only; their flag names are never offered."""


@dataclass(frozen=True, slots=True)
class Processes:
    """Where metrics are read in the virtual environment."""

    frontends: tuple[Source, ...]
    workers: Mapping[Role, tuple[Source, ...]]


@dataclass(frozen=True, slots=True)
class Settings:
    config: PlannerConfig
    graph: str
    """Name of the DynamoGraphDeployment; empty in the virtual environment."""
    graph_namespace: str
    """Empty: the one that the cluster's credentials name."""
    metrics_prefix: str
    system_host: str
    system_port: int
    """Of /live, /health and /metrics."""
    metrics_port: int
    """Of /metrics alone; 0: none."""
    processes: Processes


def read_settings(argv: Sequence[str], env: Mapping[str, str]) -> tuple[Settings, tuple[str, ...]]:
    """Settings and warnings. Raises ConfigError."""
    try:
        flags = parse_flags(argv, env, FLAGS)
        values = parse_flags([], env, ENV).values
    except FlagError as error:
        raise ConfigError(str(error)) from error
    config, warnings = read_config(flags.values["config"] or "{}")
    if env.get("DYN_DISCOVERY_BACKEND") == "file":  # on a laptop there is no API server
        config = config.model_copy(update={"environment": "virtual"})
    processes = _processes(values["frontend_urls"], values["worker_urls"], config)
    if config.environment == "kubernetes" and not values["graph"]:
        raise ConfigError("DYN_PARENT_DGD_K8S_NAME: not set; expected the name of the graph to scale")
    port = config.metric_reporting_prometheus_port
    return (
        Settings(
            config=config,
            graph=values["graph"],
            graph_namespace=values["graph_namespace"],
            metrics_prefix=values["metrics_prefix"],
            system_host=values["system_host"],
            system_port=values["system_port"],
            metrics_port=values["metrics_port"] if port is None else port,
            processes=processes,
        ),
        (*flags.warnings, *warnings),
    )


def _processes(frontends: str, workers: str, config: PlannerConfig) -> Processes:
    """`DYN_PLANNER_WORKER_URLS` is a list of role=url; the roles are those of the mode."""
    if config.environment != "virtual":
        return Processes((), {})
    roles = {
        "agg": (Role.AGGREGATED,),
        "disagg": (Role.PREFILL, Role.DECODE),
        "prefill": (Role.PREFILL,),
        "decode": (Role.DECODE,),
    }[config.mode]
    found: dict[Role, list[Source]] = {role: [] for role in roles}
    for item in filter(None, (part.strip() for part in workers.split(","))):
        name, _, url = item.partition("=")
        role = next((role for role in roles if role.value == name), None)
        if role is None:
            allowed = ", ".join(f"{role.value}=http://host:port" for role in roles)
            raise ConfigError(f"DYN_PLANNER_WORKER_URLS: found {item!r}; expected {allowed}")
        found[role].append(_source("DYN_PLANNER_WORKER_URLS", url))
    listed = filter(None, (part.strip() for part in frontends.split(",")))
    return Processes(
        tuple(_source("DYN_PLANNER_FRONTEND_URLS", url) for url in listed),
        {role: tuple(sources) for role, sources in found.items()},
    )


def _source(variable: str, url: str) -> Source:
    if not url.startswith(("http://", "https://")):
        raise ConfigError(f"{variable}: found {url!r}; expected http://host:port")
    return Source(url, f"{url.rstrip('/')}/metrics")
