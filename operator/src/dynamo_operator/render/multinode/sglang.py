"""SGLang on several nodes: every node runs the same command with its rank. Pure."""

from __future__ import annotations

from dynamo_operator.render.multinode.command import Container, with_flags
from dynamo_operator.render.multinode.hosts import Node

RENDEZVOUS_PORT = 29500


def sglang_container(container: Container, node: Node) -> Container:
    """The main container as this node runs it."""
    flags = [
        ("--dist-init-addr", f"{node.hosts.leader}:{RENDEZVOUS_PORT}"),
        ("--nnodes", str(node.count)),
        ("--node-rank", node.rank),
    ]
    return with_flags(container, "sglang", flags, needs_shell=node.needs_shell)
