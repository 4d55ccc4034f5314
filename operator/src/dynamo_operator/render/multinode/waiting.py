"""The init container that keeps a worker waiting for its leader, and the ConfigMap with its script. Pure.

The script is a module of this package, so that it is checked and tested like one.
"""

from __future__ import annotations

import functools
from importlib import resources
from typing import Any

from dynamo_operator.render import names
from dynamo_operator.render.multinode.hosts import Node

SCRIPT = "wait-for-leader.py"
SCRIPT_PATH = "/scripts"
VOLUME = "wait-leader-script"


def with_waiting(pod: dict[str, Any], parent: str, node: Node, port: int, suffix: str) -> dict[str, Any]:
    """The pod with an init container that ends when the leader's port is open."""
    main = pod["containers"][0]
    host = f'export LEADER_HOST="{node.hosts.leader_in_shell}" LEADER_PORT="{port}"'
    waiting = {
        "name": f"wait-for-leader-{suffix}",
        "image": main.get("image"),
        "command": ["sh", "-c", f"{host} && exec python3 {SCRIPT_PATH}/{SCRIPT}"],
        "resources": {},
        "volumeMounts": [{"name": VOLUME, "mountPath": SCRIPT_PATH, "readOnly": True}],
    }
    volume = {"name": VOLUME, "configMap": {"name": wait_script_name(parent)}}
    return {
        **pod,
        "initContainers": [*(pod.get("initContainers") or []), waiting],
        "volumes": [*(pod.get("volumes") or []), volume],
    }


def wait_script_name(parent: str) -> str:
    """Name of the ConfigMap that holds the script for all components of a graph."""
    return f"{parent}-wait-leader-script"


def render_wait_script(parent: str) -> dict[str, Any]:
    """The ConfigMap with the script, one for a graph."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": wait_script_name(parent), "labels": {names.GRAPH_NAME: parent}},
        "data": {SCRIPT: _script()},
    }


@functools.cache
def _script() -> str:
    return resources.files(__package__).joinpath("wait_for_leader.py").read_text(encoding="utf-8")
