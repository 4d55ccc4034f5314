"""Default ports and probes of each component type. Pure.

A liveness failure threshold of 3 for workers is deliberate: one slow answer must not kill a loaded engine.
"""

from __future__ import annotations

from typing import Any

from dynamo_operator.api import ComponentType
from dynamo_operator.api.versions import Version
from dynamo_operator.render.environment import HTTP_PORT, NIXL_PORT, PLANNER_METRICS_PORT, SYSTEM_PORT
from dynamo_operator.render.versions import STRICT_PREFIX

GRPC_PORT = 9002
GRPC_HEALTH_PORT = 9003


def default_ports(component_type: ComponentType | None) -> list[dict[str, Any]]:
    """Named container ports, in rendered order."""
    match component_type:
        case ComponentType.FRONTEND:
            return [_port("http", HTTP_PORT)]
        case ComponentType.PLANNER:
            return [_port("metrics", PLANNER_METRICS_PORT), _port("system", SYSTEM_PORT)]
        case ComponentType.EPP:
            return [_port("grpc", GRPC_PORT), _port("grpc-health", GRPC_HEALTH_PORT), _port("metrics", SYSTEM_PORT)]
        case None:
            return [_port("system", SYSTEM_PORT)]
        case _:
            return [_port("system", SYSTEM_PORT), _port("nixl", NIXL_PORT)]


def default_probes(component_type: ComponentType | None, version: Version) -> dict[str, dict[str, Any]]:
    """Probes by container field; empty for untyped components, whose health nobody can know."""
    match component_type:
        case ComponentType.FRONTEND:
            return _frontend_probes(version)
        case ComponentType.EPP:
            grpc = {"grpc": {"port": GRPC_HEALTH_PORT, "service": "inference-extension"}}
            checked = {**grpc, "initialDelaySeconds": 5, "periodSeconds": 10}
            return {
                "livenessProbe": checked,
                "readinessProbe": checked,
                "startupProbe": {**grpc, "periodSeconds": 10, "failureThreshold": 180},
            }
        case None:
            return {}
        case _:
            return {
                "livenessProbe": _http("/live", "system", period=5, timeout=4, failures=3),
                "readinessProbe": _http("/health", "system", period=10, timeout=4, failures=3),
                # Loading a large model takes long: two hours.
                "startupProbe": _http("/live", "system", period=10, timeout=5, failures=720),
            }


def _frontend_probes(version: Version) -> dict[str, dict[str, Any]]:
    probes = {
        "livenessProbe": {**_http("/live", "http", period=10, timeout=1, failures=3), "initialDelaySeconds": 15},
        "readinessProbe": {**_http("/health", "http", period=10, timeout=3, failures=3), "initialDelaySeconds": 10},
    }
    if version >= STRICT_PREFIX:
        probes["startupProbe"] = _http("/live", "http", period=10, timeout=1, failures=30)
    return probes


def _port(name: str, number: int) -> dict[str, Any]:
    return {"name": name, "containerPort": number, "protocol": "TCP"}


def _http(path: str, port: str, *, period: int, timeout: int, failures: int) -> dict[str, Any]:
    return {
        "httpGet": {"path": path, "port": port},
        "periodSeconds": period,
        "timeoutSeconds": timeout,
        "failureThreshold": failures,
    }
