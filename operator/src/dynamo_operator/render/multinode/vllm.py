"""vLLM on several nodes. Pure.

One engine larger than a pod is spread by vLLM's own multiprocessing or by Ray; several engines of one data-parallel
group get hybrid load balancing, where every node serves its own ranks; elastic expert parallelism needs one Ray
cluster that workers join once the leader serves.
"""

from __future__ import annotations

from enum import Enum

from dynamo_operator.api import ComponentDeployment
from dynamo_operator.api.versions import Version
from dynamo_operator.render import names
from dynamo_operator.render.environment import SYSTEM_PORT
from dynamo_operator.render.multinode.command import (
    Container,
    Flag,
    as_script,
    command_line,
    given_flags,
    quoted,
    with_flags,
)
from dynamo_operator.render.multinode.hosts import Node
from dynamo_operator.render.multinode.sizes import gpus_per_pod, parallel_size
from dynamo_operator.render.versions import stated_version

MASTER_PORT = 29500
RAY_PORT = 6379
DATA_PARALLEL_PORT = 13445
MULTIPROCESSING_SINCE = Version(1, 0, 0)
MASTER_PORT_FLAG = "--master-port"
EXECUTOR_FLAG = "--distributed-executor-backend"
ELASTIC_FLAG = "--enable-elastic-ep"
NIXL_HOST = "VLLM_NIXL_SIDE_CHANNEL_HOST"
POD_IP, DATA_PARALLEL_MASTER = "POD_IP", "VLLM_DP_MASTER_IP"
DATA_BACKEND = ("--data-parallel-backend", "-dpb")

TENSOR = ("--tensor-parallel-size", "-tp")
PIPELINE = ("--pipeline-parallel-size", "-pp")
DATA = ("--data-parallel-size", "-dp")

# Tries times pause: five minutes for a Ray head to come up, three hours for a large model to load.
RAY_TRIES, RAY_PAUSE_S = 150, 2
LIVE_TRIES, LIVE_PAUSE_S = 720, 15


class Launch(Enum):
    """How the nodes of a group come to work together."""

    SEPARATE = "each node on its own"
    MULTIPROCESSING = "multiprocessing"
    RAY = "Ray"
    ELASTIC = "Ray, joined late"
    DATA_PARALLEL = "hybrid load balancing"


def vllm_launch(deployment: ComponentDeployment, container: Container) -> Launch:
    """What the sizes on the command line ask for; raises RenderError for sizes or GPUs that cannot be read."""
    component = deployment.component
    engine = parallel_size(component, container, TENSOR) * parallel_size(component, container, PIPELINE)
    ranks = parallel_size(component, container, DATA)
    if engine > 1 and engine > gpus_per_pod(component):
        return Launch.RAY if uses_ray(deployment) else Launch.MULTIPROCESSING
    if ELASTIC_FLAG in given_flags(container):
        return Launch.ELASTIC
    if ranks > 1 and engine * ranks > gpus_per_pod(component):
        return Launch.DATA_PARALLEL
    return Launch.SEPARATE


def uses_ray(deployment: ComponentDeployment) -> bool:
    """Ray where the annotation says so, or where the graph is older than multiprocessing on several nodes."""
    annotations = (deployment.component.pod_template.get("metadata") or {}).get("annotations") or {}
    chosen = str(annotations.get(names.EXECUTOR_BACKEND) or "").lower()
    if chosen in ("mp", "ray"):
        return chosen == "ray"
    origin = annotations.get(names.ORIGIN_VERSION)
    return origin is not None and stated_version(str(origin)) < MULTIPROCESSING_SINCE


def vllm_container(container: Container, deployment: ComponentDeployment, node: Node) -> Container:
    """The main container as this node runs it; probes and initial waiting are the caller's."""
    launched = _launched(container, deployment, node)
    if uses_ray(deployment) or any(each["name"] == NIXL_HOST for each in launched.get("env") or ()):
        return launched
    pod_ip = {"name": NIXL_HOST, "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}
    return {**launched, "env": [*(launched.get("env") or ()), pod_ip]}


def with_ray_head(container: Container) -> Container:
    """The container of a single pod, heading a Ray cluster where elastic expert parallelism will let others join.

    The engine looks for the head under the address that it is told, so both are told the pod's.
    """
    flags = given_flags(container)
    if ELASTIC_FLAG not in flags or not any(flags.get(name) == "ray" for name in DATA_BACKEND):
        return container
    env = list(container.get("env") or ())
    known = {each["name"] for each in env}
    address = {"fieldRef": {"fieldPath": "status.podIP"}}
    added = [{"name": name, "valueFrom": address} for name in (POD_IP, DATA_PARALLEL_MASTER) if name not in known]
    return {**_heading_ray(container, f' --node-ip-address="${POD_IP}"'), "env": [*env, *added]}


def awaited_port(container: Container, launch: Launch) -> int | None:
    """The leader's port that a worker has to find open before it starts; None where it may start at once."""
    match launch:
        case Launch.MULTIPROCESSING:
            chosen = given_flags(container).get(MASTER_PORT_FLAG, "")
            return int(chosen) if chosen.isascii() and chosen.isdigit() else MASTER_PORT
        case Launch.RAY:
            return RAY_PORT
        case _:
            return None


def _launched(container: Container, deployment: ComponentDeployment, node: Node) -> Container:
    launch = vllm_launch(deployment, container)
    match launch:
        case Launch.MULTIPROCESSING:
            return with_flags(container, "vllm", _multiprocessing_flags(node), needs_shell=node.needs_shell)
        case Launch.RAY:
            return _on_ray(container, node)
        case Launch.ELASTIC:
            return _on_elastic_ray(container, node)
        case Launch.DATA_PARALLEL:
            flags = _data_parallel_flags(container, deployment, node)
            return with_flags(container, "vllm", flags, needs_shell=not node.is_leader)
        case Launch.SEPARATE:
            return container


def _multiprocessing_flags(node: Node) -> list[Flag]:
    flags: list[Flag] = [
        (EXECUTOR_FLAG, "mp"),
        ("--nnodes", str(node.count)),
        ("--master-addr", node.hosts.leader),
        (MASTER_PORT_FLAG, str(MASTER_PORT)),
        ("--node-rank", node.rank),
    ]
    return flags if node.is_leader else [*flags, ("--headless",)]


def _data_parallel_flags(container: Container, deployment: ComponentDeployment, node: Node) -> list[Flag]:
    component = deployment.component
    engine = parallel_size(component, container, TENSOR) * parallel_size(component, container, PIPELINE)
    local = gpus_per_pod(component) // engine
    start = "0" if node.is_leader else f"$(( {local} * {node.hosts.worker_rank_term} ))"
    return [
        ("--data-parallel-hybrid-lb",),
        ("--data-parallel-size-local", str(local)),
        ("--data-parallel-start-rank", start),
        ("--data-parallel-address", node.hosts.leader),
        ("--data-parallel-rpc-port", str(DATA_PARALLEL_PORT)),
    ]


def _on_ray(container: Container, node: Node) -> Container:
    if not node.is_leader:
        return as_script(container, f"exec ray start --address={node.hosts.leader}:{RAY_PORT} --block")
    engine = with_flags(container, "vllm", [(EXECUTOR_FLAG, "ray")], needs_shell=False)
    return as_script(container, f"ray start --head --port={RAY_PORT} && exec {quoted(command_line(engine))}")


def _on_elastic_ray(container: Container, node: Node) -> Container:
    """Workers join only when the leader is live: GPUs seen earlier would be given ranks that nobody asked for."""
    if node.is_leader:
        return _heading_ray(container)
    url = f"http://{node.hosts.leader}:{SYSTEM_PORT}/live"
    fetch = f"import urllib.request; urllib.request.urlopen('{url}', timeout=5)"
    wait = _until(f'python3 -c "{fetch}"', LIVE_TRIES, LIVE_PAUSE_S, "the leader did not become live")
    return as_script(container, f"{wait}\nexec ray start --address={node.hosts.leader}:{RAY_PORT} --block")


def _heading_ray(container: Container, address: str = "") -> Container:
    connect = f"import socket; socket.create_connection(('127.0.0.1', {RAY_PORT}), 1)"
    head = f"ray start --head --port={RAY_PORT}{address} --block &"
    wait = _until(f'python3 -c "{connect}"', RAY_TRIES, RAY_PAUSE_S, "the Ray head did not start")
    return as_script(container, f"{head}\n{wait}\nexec {quoted(command_line(container))}")


def _until(command: str, tries: int, pause_s: int, failure: str) -> str:
    """A script that repeats a command until it succeeds, and fails after `tries`."""
    return (
        f"tries=0\nuntil {command} 2>/dev/null; do\n"
        f'  tries=$((tries + 1))\n  if [ "$tries" -ge {tries} ]; then echo "{failure}" >&2; exit 1; fi\n'
        f"  sleep {pause_s}\ndone"
    )
