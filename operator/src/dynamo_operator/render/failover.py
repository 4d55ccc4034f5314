"""Failover within one pod: the main container becomes an active engine and its standbys. Pure.

All engines share one GPU memory service, so that a standby takes over without loading the weights again.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from dynamo_operator.api import ComponentDeployment
from dynamo_operator.render.environment import FORWARD_PASS_PORT, SYSTEM_PORT

Container = dict[str, Any]

CONTROL_PATH = "/gms-intrapod-control"
NIXL_SIDE_CHANNEL_PORT = 5600
KV_EVENT_PORT = 20080
MASTER_PORT = 29500
MASTER_PORT_STEP = 100  # an engine may use some ports above its own
MASTER_PORT_FLAG = "--master-port"
_GIVEN_PORT = re.compile(rf"(?<![\w-])({MASTER_PORT_FLAG}[= ]\s*)(\d+)")

_PROBES = ("livenessProbe", "readinessProbe", "startupProbe")
_SHELLS = ("sh", "bash")
_REPLACED_ENV = {
    "CONTAINER_NAME",
    "DYN_FORWARDPASS_METRIC_PORT",
    "DYN_HEALTH_CHECK_ENABLED",
    "DYN_SYSTEM_ENABLED",
    "DYN_SYSTEM_PORT",
    "DYN_SYSTEM_USE_ENDPOINT_HEALTH_STATUS",
}


def engines(main: Container, deployment: ComponentDeployment) -> list[Container]:
    """The main container itself where there is no failover, else one engine per active and standby place."""
    failover = deployment.component.failover
    if failover is None:
        return [main]
    is_vllm = deployment.backend_framework == "vllm"
    nodes = deployment.component.node_count
    return [_engine(main, position, nodes, is_vllm=is_vllm) for position in range(1 + failover.shadows)]


def _engine(main: Container, position: int, nodes: int, *, is_vllm: bool) -> Container:
    """Engine `position` of the pod, on ports of its own; engine 0 is the one that serves first."""
    port_name = f"system-{position}"
    own = _environment(position, nodes, is_vllm=is_vllm)
    replaced = _REPLACED_ENV | set(own)
    engine = {
        **main,
        "name": f"engine-{position}",
        "env": [
            *(each for each in main["env"] if each["name"] not in replaced),
            *({"name": name, "value": value} for name, value in own.items()),
        ],
        "ports": [{"name": port_name, "containerPort": SYSTEM_PORT + position, "protocol": "TCP"}],
        **{probe: _on_port(main[probe], port_name) for probe in _PROBES if main.get(probe) is not None},
    }
    if position and is_vllm:
        return _with_master_port(engine, position)
    return engine


def _environment(position: int, nodes: int, *, is_vllm: bool) -> dict[str, str]:
    env = {
        "ENGINE_ID": str(position),
        "CONTAINER_NAME": f"engine-{position}",
        "FAILOVER_LOCK_PATH": f"{CONTROL_PATH}/failover.lock",
        "DYN_SYSTEM_STARTING_HEALTH_STATUS": "notready",
        "DYN_SYSTEM_PORT": str(SYSTEM_PORT + position),
        "DYN_SYSTEM_ENABLED": "true",
        "DYN_FORWARDPASS_METRIC_PORT": str(FORWARD_PASS_PORT + position),
    }
    if is_vllm:
        env |= {
            "DYN_VLLM_GMS_SHADOW_MODE": "true",
            "VLLM_NIXL_SIDE_CHANNEL_PORT": str(NIXL_SIDE_CHANNEL_PORT + position),
            "DYN_VLLM_KV_EVENT_PORT": str(KV_EVENT_PORT + position),
            **({"NNODES": str(nodes)} if nodes > 1 else {}),
        }
    return env


def _with_master_port(container: Container, position: int) -> Container:
    """A standby with a master port of its own: above the one that the command gives, or above vLLM's usual one."""
    step = MASTER_PORT_STEP * position
    moved = {key: _moved(container[key], step) for key in ("command", "args") if container.get(key)}
    if all(list(container[key]) == words for key, words in moved.items()):
        return _with_flags(container, [MASTER_PORT_FLAG, str(MASTER_PORT + step)])
    return {**container, **moved}


def _moved(words: Sequence[str], step: int) -> list[str]:
    """The words with a master port that they give moved up, also within a script."""
    return [
        str(int(word) + step)
        if before == MASTER_PORT_FLAG and word.isdecimal()
        else _GIVEN_PORT.sub(lambda found: f"{found[1]}{int(found[2]) + step}", word)
        for before, word in zip(["", *words], words, strict=False)
    ]


def _with_flags(container: Container, flags: Sequence[str]) -> Container:
    """Flags at the end of the command line; in the text of a shell's script where the command is one."""
    command, args = list(container.get("command") or ()), list(container.get("args") or ())
    is_script = "-c" in command and command[0].rsplit("/", 1)[-1] in _SHELLS
    if not is_script:
        return {**container, "args": [*args, *flags]}
    after = command.index("-c") + 1
    if after < len(command):
        command[after] = " ".join([command[after].rstrip(), *flags])
        return {**container, "command": command}
    return {**container, "args": [" ".join([args[0].rstrip(), *flags]), *args[1:]] if args else args}


def _on_port(probe: dict[str, Any], port: str) -> dict[str, Any]:
    """The probe on the engine's own port; a number of the user's stays, while no other name than `port` is left."""
    asked = (probe.get("httpGet") or {}).get("port")
    if asked is None or (isinstance(asked, int) and asked != SYSTEM_PORT):
        return probe
    return {**probe, "httpGet": {**probe["httpGet"], "port": port}}
