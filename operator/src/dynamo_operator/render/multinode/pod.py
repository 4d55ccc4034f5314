"""The pods of a multinode component: one for the leader, one for its workers. Pure.

Takes a pod as a single node would get it, the main container first, and changes only what belongs to the group.
"""

from __future__ import annotations

from typing import Any

from dynamo_operator.api import ComponentDeployment
from dynamo_operator.api.versions import Version
from dynamo_operator.render import names
from dynamo_operator.render.context import RenderContext
from dynamo_operator.render.multinode.command import Container
from dynamo_operator.render.multinode.hosts import Node
from dynamo_operator.render.multinode.sglang import sglang_container
from dynamo_operator.render.multinode.trtllm import READINESS, key_volume, trtllm_container
from dynamo_operator.render.multinode.vllm import Launch, awaited_port, vllm_container, vllm_launch, with_ray_head
from dynamo_operator.render.multinode.waiting import with_waiting
from dynamo_operator.render.versions import runtime_version, stated_version

PROBES = ("livenessProbe", "readinessProbe", "startupProbe")
PORTABLE_PLACE_SINCE = Version(1, 6, 0)
RANK, LEADER_ADDRESS = "DYNAMO_RANK", "DYNAMO_LEADER_ADDRESS"


def multinode_pod(
    pod: dict[str, Any], deployment: ComponentDeployment, context: RenderContext, node: Node
) -> dict[str, Any]:
    """The pod of this node; raises RenderError for sizes or GPUs that cannot be read."""
    main, *others = pod["containers"]
    changed = {**pod, "containers": [multinode_container(main, deployment, context, node), *others]}
    match deployment.engine:
        case "vllm":
            return _waiting(changed, main, deployment, node)
        case "trtllm":
            return {**changed, "volumes": _with_keys(pod.get("volumes") or [], context.mpi_secret_name)}
        case _:
            return changed


def single_pod(pod: dict[str, Any], deployment: ComponentDeployment) -> dict[str, Any]:
    """The pod of a component on one node: as it is, but for an engine that pods which come later can widen."""
    if deployment.engine != "vllm":
        return pod
    main, *others = pod["containers"]
    return {**pod, "containers": [with_ray_head(main), *others]}


def multinode_container(
    main: Container, deployment: ComponentDeployment, context: RenderContext, node: Node
) -> Container:
    """The main container of this node: its engine's flags or launch script, its place, its probes."""
    placed = _with_place(main, deployment, node)
    match deployment.engine:
        case "vllm":
            return _probed(vllm_container(placed, deployment, node), node)
        case "sglang":
            return _probed(sglang_container(placed, node), node)
        case "trtllm":
            changed = _probed(trtllm_container(placed, deployment, node, context.mpi_secret_name), node)
            return changed if node.is_leader else {**changed, "readinessProbe": READINESS}
        case _:
            return placed


def serves_on_every_node(deployment: ComponentDeployment, main: Container) -> bool:
    """Whether workers take requests of their own, as with data parallelism; else only the leader does."""
    return deployment.engine == "vllm" and vllm_launch(deployment, main) is Launch.DATA_PARALLEL


def needs_key_pair(deployment: ComponentDeployment) -> bool:
    """Whether the pods mount the Secret `RenderContext.mpi_secret_name`, which has to be in their namespace."""
    return deployment.component.node_count > 1 and deployment.engine == "trtllm"


def _probed(container: Container, node: Node) -> Container:
    """Workers run no server of their own that a probe could ask."""
    return container if node.is_leader else {key: value for key, value in container.items() if key not in PROBES}


def _with_place(container: Container, deployment: ComponentDeployment, node: Node) -> Container:
    """Rank and leader's address under names of no orchestrator; first, so that other entries can refer to them."""
    annotations = (deployment.component.pod_template.get("metadata") or {}).get("annotations") or {}
    origin = stated_version(str(annotations.get(names.ORIGIN_VERSION) or ""))
    if max(origin, runtime_version(deployment.component)) < PORTABLE_PLACE_SINCE:
        return container
    place = [
        {"name": RANK, "value": f"$({node.hosts.rank_variable})"},
        {"name": LEADER_ADDRESS, "value": node.hosts.leader},
    ]
    others = (each for each in container.get("env") or () if each["name"] not in (RANK, LEADER_ADDRESS))
    return {**container, "env": [*place, *others]}


def _waiting(pod: dict[str, Any], main: Container, deployment: ComponentDeployment, node: Node) -> dict[str, Any]:
    if node.is_leader:
        return pod
    launch = vllm_launch(deployment, main)
    port = awaited_port(main, launch)
    suffix = "ray" if launch is Launch.RAY else "mp"
    return pod if port is None else with_waiting(pod, deployment.parent_name, node, port, suffix)


def _with_keys(volumes: list[dict[str, Any]], secret: str) -> list[dict[str, Any]]:
    """The key pair's volume, before the operator's own shared memory."""
    own = [each for each in volumes if each.get("name") == "shared-memory"]
    return [*(each for each in volumes if each.get("name") != "shared-memory"), key_volume(secret), *own]
