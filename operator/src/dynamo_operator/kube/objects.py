"""Kinds, references and live objects: how everything in this operator names what is in the cluster. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Document = dict[str, Any]


@dataclass(frozen=True, slots=True, order=True)
class Kind:
    """A resource type: `Kind("apps", "v1", "deployments", "Deployment")`; the core group is ""."""

    group: str
    version: str
    plural: str
    name: str
    is_namespaced: bool = True

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version


@dataclass(frozen=True, slots=True, order=True)
class Ref:
    """One object by name; `namespace` is "" for cluster-scoped kinds."""

    kind: Kind
    namespace: str
    name: str

    def __hash__(self) -> int:
        return hash((self.kind.plural, self.namespace, self.name))  # hashing the whole kind costs more than telling it

    def __str__(self) -> str:
        return f"{self.kind.name} {self.namespace}/{self.name}" if self.namespace else f"{self.kind.name} {self.name}"


@dataclass(frozen=True, slots=True)
class Live:
    """An object as the cluster last showed it.

    document: the object without `metadata.managedFields`.
    applied: the part of the document that our field manager set by server-side apply, read from managedFields; empty
        when we never applied it. Comparing it with what we want tells whether an apply would change anything, so that
        nothing needs to be remembered across restarts.
    """

    ref: Ref
    uid: str
    generation: int
    resource_version: str
    document: Mapping[str, Any]
    applied: Mapping[str, Any] = field(default_factory=dict)

    @property
    def labels(self) -> Mapping[str, str]:
        return self.document["metadata"].get("labels") or {}

    @property
    def annotations(self) -> Mapping[str, str]:
        return self.document["metadata"].get("annotations") or {}

    @property
    def is_terminating(self) -> bool:
        return "deletionTimestamp" in self.document["metadata"]

    @property
    def controller_uid(self) -> str | None:
        return controller_uid(self.document)


def controller_uid(document: Mapping[str, Any]) -> str | None:
    """The uid of the owner that controls an object."""
    for owner in document["metadata"].get("ownerReferences") or ():
        if owner.get("controller"):
            return str(owner["uid"])
    return None


def kind_of(document: Mapping[str, Any]) -> Kind:
    """The kind of a document whose kind this operator knows; raises KeyError for any other."""
    return KINDS[document["apiVersion"], document["kind"]]


def ref_of(document: Mapping[str, Any], namespace: str) -> Ref:
    """The reference of a document; one without its own namespace lies in `namespace`."""
    kind = kind_of(document)
    metadata = document["metadata"]
    return Ref(kind, (metadata.get("namespace") or namespace) if kind.is_namespaced else "", metadata["name"])


GRAPH = Kind("nvidia.com", "v1beta1", "dynamographdeployments", "DynamoGraphDeployment")
COMPONENT_DEPLOYMENT = Kind("nvidia.com", "v1beta1", "dynamocomponentdeployments", "DynamoComponentDeployment")
SCALING_ADAPTER = Kind(
    "nvidia.com", "v1beta1", "dynamographdeploymentscalingadapters", "DynamoGraphDeploymentScalingAdapter"
)
MODEL = Kind("nvidia.com", "v1alpha1", "dynamomodels", "DynamoModel")
WORKER_METADATA = Kind("nvidia.com", "v1alpha1", "dynamoworkermetadatas", "DynamoWorkerMetadata")
DEPLOYMENT = Kind("apps", "v1", "deployments", "Deployment")
SERVICE = Kind("", "v1", "services", "Service")
SERVICE_ACCOUNT = Kind("", "v1", "serviceaccounts", "ServiceAccount")
CONFIG_MAP = Kind("", "v1", "configmaps", "ConfigMap")
SECRET = Kind("", "v1", "secrets", "Secret")
POD = Kind("", "v1", "pods", "Pod")
EVENT = Kind("", "v1", "events", "Event")
CLAIM = Kind("", "v1", "persistentvolumeclaims", "PersistentVolumeClaim")
ROLE = Kind("rbac.authorization.k8s.io", "v1", "roles", "Role")
ROLE_BINDING = Kind("rbac.authorization.k8s.io", "v1", "rolebindings", "RoleBinding")
INGRESS = Kind("networking.k8s.io", "v1", "ingresses", "Ingress")
VIRTUAL_SERVICE = Kind("networking.istio.io", "v1", "virtualservices", "VirtualService")
DESTINATION_RULE = Kind("networking.istio.io", "v1", "destinationrules", "DestinationRule")
INFERENCE_POOL = Kind("inference.networking.k8s.io", "v1", "inferencepools", "InferencePool")
CLAIM_TEMPLATE = Kind("resource.k8s.io", "v1", "resourceclaimtemplates", "ResourceClaimTemplate")
ENDPOINT_SLICE = Kind("discovery.k8s.io", "v1", "endpointslices", "EndpointSlice")
LEASE = Kind("coordination.k8s.io", "v1", "leases", "Lease")
LEADER_WORKER_SET = Kind("leaderworkerset.x-k8s.io", "v1", "leaderworkersets", "LeaderWorkerSet")
POD_GROUP = Kind("scheduling.volcano.sh", "v1beta1", "podgroups", "PodGroup")
POD_CLIQUE_SET = Kind("grove.io", "v1alpha1", "podcliquesets", "PodCliqueSet")
POD_CLIQUE = Kind("grove.io", "v1alpha1", "podcliques", "PodClique")
POD_CLIQUE_SCALING_GROUP = Kind("grove.io", "v1alpha1", "podcliquescalinggroups", "PodCliqueScalingGroup")
CRD = Kind("apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition", False)
VALIDATING_WEBHOOK = Kind(
    "admissionregistration.k8s.io", "v1", "validatingwebhookconfigurations", "ValidatingWebhookConfiguration", False
)
MUTATING_WEBHOOK = Kind(
    "admissionregistration.k8s.io", "v1", "mutatingwebhookconfigurations", "MutatingWebhookConfiguration", False
)

KINDS: Mapping[tuple[str, str], Kind] = {
    (kind.api_version, kind.name): kind
    for kind in (
        GRAPH,
        COMPONENT_DEPLOYMENT,
        SCALING_ADAPTER,
        MODEL,
        WORKER_METADATA,
        DEPLOYMENT,
        SERVICE,
        SERVICE_ACCOUNT,
        CONFIG_MAP,
        SECRET,
        POD,
        EVENT,
        CLAIM,
        ROLE,
        ROLE_BINDING,
        INGRESS,
        VIRTUAL_SERVICE,
        DESTINATION_RULE,
        INFERENCE_POOL,
        CLAIM_TEMPLATE,
        ENDPOINT_SLICE,
        LEASE,
        LEADER_WORKER_SET,
        POD_GROUP,
        POD_CLIQUE_SET,
        POD_CLIQUE,
        POD_CLIQUE_SCALING_GROUP,
        CRD,
        VALIDATING_WEBHOOK,
        MUTATING_WEBHOOK,
    )
}
