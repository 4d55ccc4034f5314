"""The LeaderWorkerSet of a multinode component: groups of pods, each a leader and its workers. Pure.

All that the API defaults is written out, so that the object is the same with and without LeaderWorkerSet's webhook.
LeaderWorkerSet itself gangs the pods of a group where it is configured to, with Volcano.
"""

from __future__ import annotations

from typing import Any

from dynamo_operator.api import ComponentDeployment
from dynamo_operator.render import names
from dynamo_operator.render.container import main_container
from dynamo_operator.render.context import RenderContext
from dynamo_operator.render.errors import LacksKind, RenderError
from dynamo_operator.render.multinode import Hosts, Node, Role, serves_on_every_node
from dynamo_operator.render.network import render_service
from dynamo_operator.render.pod import object_labels, pod_template

Document = dict[str, Any]

ROLE = "role"
VOLCANO = "volcano"
VOLCANO_QUEUE = "scheduling.volcano.sh/queue-name"
# Pods carry `<set>-<group>-<revision>` as a label value: 10 characters of revision, groups up to 99.
LONGEST_NAME = names.LONGEST_NAME - len("-99") - len("-0123456789")


def render_leader_worker_set(deployment: ComponentDeployment, context: RenderContext) -> Document:
    """The LeaderWorkerSet; raises LacksKind where the cluster has none, RenderError for what a group cannot be told."""
    component = deployment.component
    if not context.has_leader_worker_sets:
        found = f"multinode with {component.node_count} nodes"
        raise LacksKind(component.name, found, "it needs LeaderWorkerSet or Grove, and neither is there")
    metadata: Document = {"name": leader_worker_set_name(deployment), "labels": object_labels(deployment, context)}
    queue = _queue(deployment)
    if queue and context.gang_scheduler == VOLCANO:
        metadata["annotations"] = {VOLCANO_QUEUE: queue}
    return {
        "apiVersion": "leaderworkerset.x-k8s.io/v1",
        "kind": "LeaderWorkerSet",
        "metadata": metadata,
        "spec": {
            "replicas": component.replicas,
            "startupPolicy": "LeaderCreated",
            "networkConfig": {"subdomainPolicy": "Shared"},
            "rolloutStrategy": {
                "type": "RollingUpdate",
                "rollingUpdateConfiguration": {"maxUnavailable": 1, "maxSurge": 0, "partition": 0},
            },
            "leaderWorkerTemplate": {
                "size": component.node_count,
                # An engine cannot take back a node that has lost its memory.
                "restartPolicy": "RecreateGroupOnPodRestart",
                "leaderTemplate": _template(deployment, context, Role.LEADER),
                "workerTemplate": _template(deployment, context, Role.WORKER),
            },
        },
    }


def leader_worker_set_name(deployment: ComponentDeployment) -> str:
    """`<component deployment>-0` without dots, as LeaderWorkerSet asks for; raises RenderError if too long."""
    name = f"{deployment.name.replace('.', '-')}-0"
    if len(name) > LONGEST_NAME:
        found = f"its LeaderWorkerSet is {name!r} ({len(name)} characters)"
        raise RenderError(deployment.component.name, found, f"allowed: {LONGEST_NAME}, so that its pods' labels fit")
    return name


def render_group_service(deployment: ComponentDeployment, context: RenderContext) -> list[Document]:
    """The component's Service; it leads to the leaders, or to all nodes where each serves requests of its own."""
    services = render_service(deployment, context)
    if serves_on_every_node(deployment, main_container(deployment, context)):
        return services
    return [_leading_to_leaders(service) for service in services]


def _leading_to_leaders(service: Document) -> Document:
    selector = {**service["spec"]["selector"], ROLE: Role.LEADER.value}
    return {**service, "spec": {**service["spec"], "selector": selector}}


def _template(deployment: ComponentDeployment, context: RenderContext, role: Role) -> Document:
    count = deployment.component.node_count
    template = pod_template(deployment, context, Node(role, count, _hosts(count)))
    labels = {key: text for key, text in template["metadata"]["labels"].items() if key != names.SELECTOR}
    if context.gang_scheduler == VOLCANO:
        template["spec"].setdefault("schedulerName", VOLCANO)
    return {**template, "metadata": {**template["metadata"], "labels": {**labels, ROLE: role.value}}}


def _hosts(count: int) -> Hosts:
    """LeaderWorkerSet tells each pod its leader's address and its own index; a worker's name is the leader's and it."""
    return Hosts(
        leader="$(LWS_LEADER_ADDRESS)",
        worker_rank="$(LWS_WORKER_INDEX)",
        worker_rank_term="LWS_WORKER_INDEX",
        worker_rank_needs_shell=False,
        workers=tuple(f"${{LWS_LEADER_ADDRESS%%.*}}-{index}.${{LWS_LEADER_ADDRESS#*.}}" for index in range(1, count)),
        rank_variable="LWS_WORKER_INDEX",
        may_start_first=True,
    )


def _queue(deployment: ComponentDeployment) -> str:
    annotations = (deployment.component.pod_template.get("metadata") or {}).get("annotations") or {}
    return str(annotations.get(names.VOLCANO_QUEUE) or "").strip()
