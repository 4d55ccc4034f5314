"""The kinds of a graph's children: what passes apply and what they delete. Pure; called by deciding and controllers."""

from __future__ import annotations

from dynamo_operator.kube import Kind
from dynamo_operator.kube.objects import (
    CLAIM,
    CLAIM_TEMPLATE,
    COMPONENT_DEPLOYMENT,
    CONFIG_MAP,
    DEPLOYMENT,
    DESTINATION_RULE,
    INFERENCE_POOL,
    INGRESS,
    LEADER_WORKER_SET,
    POD_CLIQUE_SET,
    POD_GROUP,
    ROLE,
    ROLE_BINDING,
    SCALING_ADAPTER,
    SERVICE,
    SERVICE_ACCOUNT,
    VIRTUAL_SERVICE,
)

# What a component deployment's pass applies.
CHILD_KINDS: tuple[Kind, ...] = (
    SERVICE_ACCOUNT,
    ROLE,
    ROLE_BINDING,
    CLAIM,
    CLAIM_TEMPLATE,
    CONFIG_MAP,
    COMPONENT_DEPLOYMENT,
    DEPLOYMENT,
    LEADER_WORKER_SET,
    POD_GROUP,
    SERVICE,
    INGRESS,
    VIRTUAL_SERVICE,
    DESTINATION_RULE,
    INFERENCE_POOL,
)
# Objects that are deleted when they are no longer rendered. Claims are not among them: they hold data, and go only with
# their graph.
PRUNED_KINDS = frozenset({*CHILD_KINDS, POD_CLIQUE_SET, SCALING_ADAPTER}) - {CLAIM}
