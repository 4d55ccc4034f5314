"""What rendering needs to know about the cluster and the operator's configuration, as plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

# The release of the public contract whose defaults are rendered; stamped as the origin version of new graphs.
CONTRACT_VERSION = "1.5.0"


@dataclass(frozen=True, slots=True)
class IngressDefaults:
    """The operator's own ingress configuration; a graph's ingress block wins."""

    host_suffix: str = "local"
    class_name: str | None = None
    tls_secret_name: str | None = None
    virtual_service_gateway: str | None = None


@dataclass(frozen=True, slots=True)
class RenderContext:
    """Cluster facts and operator configuration, one value per render.

    namespace: the Kubernetes namespace of the graph.
    service_env: environment given to every main container, by name (NATS_SERVER, ETCD_ENDPOINTS, MODEL_EXPRESS_URL,
        PROMETHEUS_ENDPOINT, TLS paths); what a user sets wins.
    pull_secret_names: names of the image-pull secrets known for a registry host; under the empty name those for images
        that name no host.
    has_grove: whether the cluster serves Grove's API.
    grove_termination_delay_s: how long a gang may lack pods before Grove ends and restarts it; 0 leaves it to Grove.
    gang_scheduler: `kai-scheduler` or `volcano` where Grove's pods are placed by it; None for the cluster's default.
        Pods of LeaderWorkerSets are placed by `volcano` only.
    has_leader_worker_sets: whether the cluster serves LeaderWorkerSet's API.
    mpi_secret_name: the Secret with the key pair by which the nodes of a TensorRT-LLM group log in to each other.
    """

    namespace: str
    operator_version: str = CONTRACT_VERSION
    discovery_backend: str = "kubernetes"
    service_env: Mapping[str, str] = field(default_factory=dict)
    pull_secret_names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    ingress: IngressDefaults = IngressDefaults()
    planner_cluster_role: str = "dynamo-operator-planner"
    epp_cluster_role: str = "dynamo-operator-epp"
    # "Role" where the operator was installed without any cluster-wide right; the two above name such then.
    shared_role_kind: str = "ClusterRole"
    # Fill in the security settings that pods leave open.
    secures_workloads: bool = True
    has_grove: bool = False
    grove_termination_delay_s: int = 4 * 3600
    gang_scheduler: str | None = None
    has_leader_worker_sets: bool = False
    mpi_secret_name: str = "mpi-run-ssh-secret"  # noqa: S105 - a name
