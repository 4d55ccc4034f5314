"""Names, label keys and annotation keys of rendered objects. Pure; used by all of `render`."""

from __future__ import annotations

import hashlib

from dynamo_operator.api import Component, ComponentDeployment
from dynamo_operator.render.errors import RenderError

LONGEST_NAME = 63  # DNS label: Service names and label values

SELECTOR = "nvidia.com/selector"
GRAPH_NAME = "nvidia.com/dynamo-graph-deployment-name"
COMPONENT = "nvidia.com/dynamo-component"
COMPONENT_TYPE = "nvidia.com/dynamo-component-type"
COMPONENT_CLASS = "nvidia.com/dynamo-component-class"
SUB_COMPONENT_TYPE = "nvidia.com/dynamo-sub-component-type"
NAMESPACE = "nvidia.com/dynamo-namespace"
WORKER_HASH = "nvidia.com/dynamo-worker-hash"
BASE_MODEL_HASH = "nvidia.com/dynamo-base-model-hash"
METRICS_ENABLED = "nvidia.com/metrics-enabled"
DISCOVERY_BACKEND = "nvidia.com/dynamo-discovery-backend"
DISCOVERY_ENABLED = "nvidia.com/dynamo-discovery-enabled"
MANAGED_BY = "nvidia.com/managed-by"

BASE_MODEL = "nvidia.com/dynamo-base-model"
DISCOVERY_MODE = "nvidia.com/dynamo-kube-discovery-mode"
ENABLE_METRICS = "nvidia.com/enable-metrics"
EXECUTOR_BACKEND = "nvidia.com/vllm-distributed-executor-backend"
ORIGIN_VERSION = "nvidia.com/dynamo-operator-origin-version"
VOLCANO_QUEUE = "nvidia.com/volcano-queue"
OWN_PULL_SECRETS_ONLY = "nvidia.com/disable-image-pull-secret-discovery"
STRATEGY = "nvidia.com/deployment-strategy"
MAX_SURGE = "nvidia.com/deployment-rolling-update-max-surge"
MAX_UNAVAILABLE = "nvidia.com/deployment-rolling-update-max-unavailable"
DCD_PAYLOAD = "nvidia.com/dcd-spec"

OPERATOR = "dynamo-operator"
PLANNER_ACCOUNT = "planner-serviceaccount"
EPP_ACCOUNT = "epp-serviceaccount"
SHARED_NAMESPACE = "dynamo"


def component_deployment_name(graph: str, component: Component, hash8: str | None) -> str:
    """`<graph>-<component>`, lower case, with the generation hash for workers; raises RenderError if too long."""
    name = "-".join(part for part in (graph, component.name.lower(), hash8) if part)
    return fitting(name, component.name, "the name rendered from graph and component")


def service_name(deployment: ComponentDeployment) -> str:
    """The Service's name: that of the component deployment, without dots."""
    return deployment.name.lower().replace(".", "-")


def runtime_namespace(k8s_namespace: str, deployment: ComponentDeployment) -> str:
    """The discovery namespace shared by all generations of a graph, `<namespace>-<graph>` or `dynamo`."""
    if deployment.component.is_in_shared_namespace:
        return SHARED_NAMESPACE
    name = f"{k8s_namespace}-{deployment.parent_name.replace('.', '-')}"
    return fitting(name, deployment.component.name, "the runtime namespace <namespace>-<graph>")


def discovery_account_name(parent: str) -> str:
    """The service account that pods of a graph discover each other with."""
    return f"{parent}-k8s-service-discovery"


def model_hash(model_name: str) -> str:
    """First 8 hex digits of sha256 over the model's name; public, since LoRA controllers look Services up by it."""
    return hashlib.sha256(model_name.encode()).hexdigest()[:8]


def fitting(name: str, component: str, what: str) -> str:
    """`name`, or RenderError where it is longer than a DNS label."""
    if len(name) > LONGEST_NAME:
        raise RenderError(component, f"{what} is {name!r} ({len(name)} characters)", f"allowed: {LONGEST_NAME}")
    return name
