"""Settings of the worker shell, and the flags every engine's command shares. Read once at start.

Engines add `COMMON_WORKER_FLAGS` and `COMMON_WORKER_RETIRED` to their own tables and call `worker_config`.
"""

from __future__ import annotations

import ipaddress
import os
import re
import secrets
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from dynamo.discovery import DISCOVERY_ENV
from dynamo.process.flags import Flag, FlagError, Retired, boolean, number, parse_flags
from dynamo.wire.cards import ModelType, Role
from dynamo.worker.canary import CanaryTerms
from dynamo.worker.canary_request import openai_body

_HOST = re.compile(r"[\w.-]+|[0-9A-Fa-f:.]+(%\w+)?", re.ASCII)
_ENDPOINT_TYPES = {kind.value: kind for kind in ModelType}


def _endpoint_types(text: str) -> tuple[ModelType, ...]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names or any(name not in _ENDPOINT_TYPES for name in names):
        raise ValueError(f"expected a comma-separated list of {', '.join(_ENDPOINT_TYPES)}")
    return tuple(_ENDPOINT_TYPES[name] for name in names)


def _endpoint(text: str) -> tuple[str, str]:
    """(namespace, component) of `dyn://namespace.component.endpoint`."""
    parts = text.removeprefix("dyn://").split(".")
    if len(parts) != 3 or not all(parts):
        raise ValueError("expected dyn://namespace.component.endpoint")
    return parts[0], parts[1]


def _payload(text: str) -> dict[str, Any]:
    """An OpenAI request of `text`, or of the file that `@file` names."""
    try:
        content = Path(text[1:]).read_bytes() if text.startswith("@") else text.encode()
        found = msgspec.json.decode(content)
    except (OSError, msgspec.DecodeError) as error:
        raise ValueError(f"expected a JSON object or @file ({error})") from error
    if not isinstance(found, dict):
        raise ValueError("expected a JSON object or @file")
    return openai_body(found)


COMMON_WORKER_FLAGS = (
    Flag("--namespace", str, "dynamo", ("DYN_NAMESPACE",), "runtime namespace that frontends filter by"),
    Flag("--endpoint", _endpoint, None, ("DYN_ENDPOINT",), "dyn://namespace.component.endpoint; sets the first two"),
    Flag(
        "--discovery-backend",
        str,
        "file",
        ("DYN_DISCOVERY_BACKEND",),
        "where workers announce themselves: file, mem, kubernetes",
    ),
    Flag(
        "--endpoint-types", _endpoint_types, None, ("DYN_ENDPOINT_TYPES",), "OpenAI surfaces to offer: chat,completions"
    ),
    Flag(
        "--health-check-payload",
        _payload,
        None,
        ("DYN_HEALTH_CHECK_PAYLOAD",),
        "request that health checks send to an idle engine, as JSON or @file; one token without it",
    ),
)

_ENGINE_DOES = "the engine's own OpenAI server does this, with the engine's own flag"
COMMON_WORKER_RETIRED = (
    Retired("--request-plane", "requests always travel over HTTP/1.1"),
    Retired("--response-plane", "answers come on the request's own connection"),
    Retired("--event-plane", "events always travel over ZMQ"),
    Retired("--connector", "pass the engine's own KV transfer flag", env=("DYN_CONNECTOR",)),
    Retired("--dyn-tool-call-parser", _ENGINE_DOES, env=("DYN_TOOL_CALL_PARSER",)),
    Retired("--dyn-reasoning-parser", _ENGINE_DOES, env=("DYN_REASONING_PARSER",)),
    Retired("--dyn-default-thinking-mode", _ENGINE_DOES),
    Retired("--dyn-structural-tag", _ENGINE_DOES, env=("DYN_STRUCTURAL_TAG",)),
    Retired(
        "--custom-jinja-template",
        "put chat_template.jinja into the model's folder",
        env=("DYN_CUSTOM_JINJA_TEMPLATE",),
    ),
    Retired("--dump-config-to", "the settings are logged at start"),
    Retired("--kv-state-endpoint", "routers fetch KV state from the system port"),
    Retired("--fpm-trace", "forward passes are not traced", takes_value=False),
    Retired("--output-modalities", "workers answer text"),
    Retired("--media-output-fs-url", "workers answer text"),
    Retired(
        "--engine-request-limit",
        "requests beyond the engine's slots wait in the engine; limit them by the frontend's busy thresholds",
        env=("DYN_ENGINE_REQUEST_LIMIT",),
    ),
    Retired("--multimodal-embedding-cache-capacity-gb", "workers take text"),
)

# Settings that processes get by environment only; the names before them appear in no command line.
_ENVIRONMENT = (
    Flag("--component", str, "backend", ("DYN_COMPONENT",)),
    Flag("--worker-suffix", str, "", ("DYN_NAMESPACE_WORKER_SUFFIX",)),
    Flag("--name", str, "", ("POD_NAME",)),
    Flag("--peer-host", str, "", ("DYN_TCP_RPC_HOST",)),
    Flag("--pod-ip", str, "", ("POD_IP",)),
    Flag("--system-host", str, "", ("DYN_SYSTEM_HOST",)),
    Flag("--system-port", number(int, least=-1, most=65535), 0, ("DYN_SYSTEM_PORT",)),
    Flag("--event-host", str, "", ("DYN_EVENT_PLANE_HOST",)),
    Flag("--health-path", str, "/health", ("DYN_SYSTEM_HEALTH_PATH",)),
    Flag("--live-path", str, "/live", ("DYN_SYSTEM_LIVE_PATH",)),
    Flag("--lora", boolean, False, ("DYN_LORA_ENABLED",)),
    Flag("--canary", boolean, False, ("DYN_HEALTH_CHECK_ENABLED",)),
    Flag("--canary-wait-s", number(float, least=0.1, most=86400), 10.0, ("DYN_CANARY_WAIT_TIME",)),
    Flag("--canary-timeout-s", number(float, least=0.1, most=3600), 3.0, ("DYN_HEALTH_CHECK_REQUEST_TIMEOUT",)),
    Flag("--grace-s", number(float, least=0, most=86400), 5.0, ("DYN_GRACEFUL_SHUTDOWN_GRACE_PERIOD_SECS",)),
    Flag("--drain-s", number(float, least=0, most=86400), 30.0, ("DYN_RUNTIME_GRACEFUL_SHUTDOWN_TIMEOUT_SECS",)),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerConfig:
    """Everything the shell needs besides the engine; one per worker incarnation."""

    worker_id: int
    """63 random bits, new at each start: what routers knew of the process before must not be taken for this one."""
    name: str
    namespace: str
    component: str
    engine: str
    model: str
    aliases: tuple[str, ...] = ()
    role: Role = Role.AGGREGATED
    model_types: tuple[ModelType, ...] | None = None
    """None: what the engine says it answers."""
    user_data: dict[str, str] = field(default_factory=dict)

    peer_host: str
    """Host at which frontends reach this process."""
    system_host: str
    system_port: int = 0
    """0: any free one; it travels in the card."""
    event_host: str
    """Address to publish events on; `*` is every interface."""
    health_path: str = "/health"
    live_path: str = "/live"
    lora_enabled: bool = False
    canary: CanaryTerms | None = None
    """How an idle engine is asked for a sign of life; None: it is not."""

    grace_s: float = 5.0
    """Between leaving discovery and refusing requests: frontends must have noticed."""
    drain_s: float = 30.0
    """For streams to finish after that."""
    discovery_backend: str = "file"
    discovery_env: Mapping[str, str] = field(default_factory=dict)


def worker_config(
    values: Mapping[str, Any],
    env: Mapping[str, str],
    *,
    engine: str,
    model: str,
    aliases: tuple[str, ...] = (),
    role: Role = Role.AGGREGATED,
    index: int = 0,
) -> WorkerConfig:
    """`values` are parsed flags that include COMMON_WORKER_FLAGS. Raises FlagError naming the variable.

    `index` counts the workers of one process: those after the first take any free system port.
    """
    settings = parse_flags((), env, _ENVIRONMENT).values
    namespace, component = values["endpoint"] or (values["namespace"], settings["component"])
    if suffix := settings["worker_suffix"]:
        namespace = f"{namespace}-{suffix}"
    peer_host = settings["peer_host"] or settings["pod_ip"] or _own_address()
    if not _HOST.fullmatch(peer_host):
        raise FlagError(f"DYN_TCP_RPC_HOST: found {peer_host!r}; expected a host name or an IP address")
    everywhere = every_interface(peer_host)
    for path in ("health_path", "live_path"):
        if not settings[path].startswith("/"):
            raise FlagError(f"DYN_SYSTEM_{path.upper()}: found {settings[path]!r}; expected a path that begins with /")
    name = settings["name"] or f"{component}-{os.getpid()}"
    return WorkerConfig(
        worker_id=secrets.randbits(63),
        name=f"{name}-{index}" if index else name,
        namespace=namespace,
        component=component,
        engine=engine,
        model=model,
        aliases=aliases,
        role=role,
        model_types=values["endpoint_types"],
        peer_host=peer_host,
        system_host=settings["system_host"] or everywhere,
        system_port=0 if index else max(0, settings["system_port"]),
        event_host=settings["event_host"] or everywhere,
        health_path=settings["health_path"],
        live_path=settings["live_path"],
        lora_enabled=settings["lora"],
        canary=CanaryTerms(settings["canary_wait_s"], settings["canary_timeout_s"], values["health_check_payload"])
        if settings["canary"]
        else None,
        grace_s=settings["grace_s"],
        drain_s=settings["drain_s"],
        discovery_backend=values["discovery_backend"],
        discovery_env={key: env[key] for key in DISCOVERY_ENV if key in env},
    )


def every_interface(peer_host: str) -> str:
    """What to listen on so that peers reach `peer_host`, and nobody else does where that is this machine only."""
    if _is_loopback(peer_host):
        return "::1" if ":" in peer_host else "127.0.0.1"
    return "::" if ":" in peer_host else "0.0.0.0"  # noqa: S104


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _own_address() -> str:
    """The address of the interface that leads outwards, whichever family has one.

    A pod in a network without a way out has its address beside its name in /etc/hosts.
    """
    for family, anywhere in ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1")):
        try:
            # A datagram socket's connect sends nothing.
            with socket.socket(family, socket.SOCK_DGRAM) as probe:
                probe.connect((anywhere, 9))
                return str(probe.getsockname()[0])
        except OSError:
            continue
    try:
        return socket.gethostbyname(socket.gethostname())
    except OSError:
        return "127.0.0.1"
