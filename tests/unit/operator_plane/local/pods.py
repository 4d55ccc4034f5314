"""Rendered objects for tests of the laptop runner."""

from __future__ import annotations

from typing import Any


def a_deployment(
    component: str = "worker",
    role: str = "worker",
    *,
    replicas: int = 1,
    pod: dict[str, Any] | None = None,
    **container: Any,
) -> dict[str, Any]:
    """A Deployment as the operator renders it, cut down to what matters; `container` overrides the main container."""
    port = {"name": "http", "containerPort": 8000} if role == "frontend" else {"name": "system", "containerPort": 9090}
    main = {
        "name": "main",
        "command": ["python3", "-m", "dynamo.frontend" if role == "frontend" else "dynamo.mocker"],
        "env": [a_port_variable(role)] if role in {"frontend", "worker", "prefill", "decode"} else [],
        "ports": [port],
        "readinessProbe": {"httpGet": {"path": "/health", "port": port["name"]}, "timeoutSeconds": 4},
        **container,
    }
    labels = {"nvidia.com/dynamo-component": component, "nvidia.com/dynamo-component-type": role}
    return {
        "kind": "Deployment",
        "metadata": {"name": f"graph-{component.lower()}"},
        "spec": {
            "replicas": replicas,
            "template": {
                "metadata": {"labels": labels, "annotations": {"note": "hello"}},
                "spec": {"serviceAccountName": "finder", **(pod or {}), "containers": [main, *sidecars(pod)]},
            },
        },
    }


def a_port_variable(role: str) -> dict[str, str]:
    return (
        {"name": "DYN_HTTP_PORT", "value": "8000"}
        if role == "frontend"
        else {"name": "DYN_SYSTEM_PORT", "value": "9090"}
    )


def sidecars(pod: dict[str, Any] | None) -> list[dict[str, Any]]:
    return list((pod or {}).get("containers") or ())
