"""Multinode: one replica of a component as a group of pods on several nodes, leader and workers.

Duty: what an engine (vLLM, SGLang, TensorRT-LLM) has to be told so that the pods of a group work as one. It must not
know how an orchestrator makes the group: that is `Hosts`. Callers: `render.pod`, and through it LeaderWorkerSets and
Grove's cliques; whoever renders a graph also applies `render_wait_script` where a component has several nodes.
"""

from __future__ import annotations

from dynamo_operator.render.multinode.hosts import Hosts, Node, Role
from dynamo_operator.render.multinode.pod import (
    multinode_container,
    multinode_pod,
    needs_key_pair,
    serves_on_every_node,
    single_pod,
)
from dynamo_operator.render.multinode.waiting import render_wait_script, wait_script_name

__all__ = [
    "Hosts",
    "Node",
    "Role",
    "multinode_container",
    "multinode_pod",
    "needs_key_pair",
    "render_wait_script",
    "serves_on_every_node",
    "single_pod",
    "wait_script_name",
]
