"""The typed specs: a graph, its components, and a component deployment.

Words are those of the glossary in docs/architecture.md. All values are frozen. `Component.spec` keeps the entry as it
was written (API defaults filled in), because the child document carries it on unchanged. Pure data; nothing here acts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from dynamo_operator.api.documents import EMPTY, JsonObject
from dynamo_operator.api.gangs import ComponentGang, GraphGang


class ComponentType(StrEnum):
    """What a component is for; decides its default command, ports, probes and environment."""

    FRONTEND = "frontend"
    WORKER = "worker"
    PREFILL = "prefill"
    DECODE = "decode"
    PLANNER = "planner"
    EPP = "epp"


WORKER_TYPES = frozenset({ComponentType.WORKER, ComponentType.PREFILL, ComponentType.DECODE})


@dataclass(frozen=True, slots=True)
class CompilationCache:
    """A claim that keeps compiled kernels between pod starts; `mount_path` None means the engine's usual place."""

    claim_name: str
    mount_path: str | None


@dataclass(frozen=True, slots=True)
class GpuMemoryService:
    """Weights are held by a server beside the engine, in one pod (`IntraPod`) or across pods (`InterPod`)."""

    mode: str
    device_class: str
    extra_client_containers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Failover:
    """Standby engines beside the active one."""

    mode: str
    shadows: int


@dataclass(frozen=True, slots=True)
class Preserved:
    """What a v1alpha1 service said and v1beta1 cannot say; honoured, and carried on in the child's annotation."""

    annotations: Mapping[str, str]
    labels: Mapping[str, str]
    ingress: JsonObject
    sub_component_type: str

    @property
    def document(self) -> dict[str, object]:
        """The same as a v1alpha1 service fragment; empty where nothing was preserved."""
        parts = {
            "annotations": self.annotations,
            "labels": self.labels,
            "ingress": self.ingress,
            "subComponentType": self.sub_component_type,
        }
        return {name: part for name, part in parts.items() if part}


@dataclass(frozen=True, slots=True)
class Component:
    """One entry of a graph."""

    name: str
    type: ComponentType | None
    replicas: int
    spec: JsonObject
    pod_template: JsonObject
    runtime_version_override: str | None
    is_in_shared_namespace: bool
    node_count: int
    shared_memory_size: str | None
    model_name: str | None
    has_scaling_adapter: bool
    epp_config: JsonObject | None
    frontend_sidecar: str | None
    compilation_cache: CompilationCache | None
    gpu_memory: GpuMemoryService | None
    failover: Failover | None
    has_checkpoint: bool
    preserved: Preserved
    gang: ComponentGang

    @property
    def is_worker(self) -> bool:
        """Workers of all roles share a generation hash and the worker defaults."""
        return self.type in WORKER_TYPES

    @property
    def containers(self) -> Sequence[JsonObject]:
        """The pod's containers as the user wrote them."""
        containers: Sequence[JsonObject] = (self.pod_template.get("spec") or EMPTY).get("containers") or ()
        return containers

    @property
    def main(self) -> JsonObject:
        """The container named `main`; empty where the user gave none."""
        return next((each for each in self.containers if each.get("name") == "main"), EMPTY)


@dataclass(frozen=True, slots=True)
class Claim:
    """A persistent volume claim that a v1alpha1 graph asked the operator to create."""

    name: str
    size: str
    storage_class: str
    access_mode: str


@dataclass(frozen=True, slots=True)
class Graph:
    """A DynamoGraphDeployment."""

    name: str
    metadata_annotations: Mapping[str, str]
    annotations: Mapping[str, str]
    labels: Mapping[str, str]
    env: tuple[JsonObject, ...]
    backend_framework: str | None
    components: tuple[Component, ...]
    claims: tuple[Claim, ...]
    has_kv_transfer_policy: bool
    gang: GraphGang


@dataclass(frozen=True, slots=True)
class ComponentDeployment:
    """A DynamoComponentDeployment: one component with everything of its graph already merged in."""

    name: str
    labels: Mapping[str, str]
    component: Component
    backend_framework: str | None
    graph_name: str | None

    @property
    def engine(self) -> str | None:
        """The framework that its pods are started for; components of other types run as written."""
        return self.backend_framework if self.component.is_worker else None

    @property
    def parent_name(self) -> str:
        """The graph it belongs to, or its own name where it was created on its own."""
        return self.graph_name or self.name
