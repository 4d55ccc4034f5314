"""How the webhook server is set up; `handlers` reads the operator's configuration into it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

CONVERTED_CRDS = (
    "dynamographdeployments.nvidia.com",
    "dynamocomponentdeployments.nvidia.com",
    "dynamographdeploymentscalingadapters.nvidia.com",
)


@dataclass(frozen=True, slots=True)
class WebhookSettings:
    """Where the server listens, how the API server reaches it, and where its certificates come from.

    namespace: of the operator: its Secret, Service and pod.
    host, port: where it listens; no host is every address, port 0 a free one.
    service_name: the Service that the API server calls.
    secret_name: where self-made certificates are kept, shared by all replicas.
    is_secret_foreign: cert-manager or a person keeps that Secret; it is only read.
    certificates_folder: a mounted folder with tls.crt, tls.key and ca.crt, used instead of the Secret.
    validating_name, mutating_name: the webhook configurations that are given the CA.
    crd_names: the CRDs whose conversion is given the CA and the Service; none in a namespace-only installation.
    extra_names: further DNS names that API servers call us by, for an operator outside of the cluster.
    check_interval_s: how often certificates and their injection are looked at (six API calls);
        certificates live for months.
    folder_interval_s: how often a certificates folder is read, which nobody watches.
    """

    namespace: str
    host: str = ""
    port: int = 9443
    service_name: str = "dynamo-operator-webhook-service"
    secret_name: str = "webhook-server-cert"  # noqa: S105 - a name
    is_secret_foreign: bool = False
    certificates_folder: Path | None = None
    validating_name: str = "dynamo-operator-validating"
    mutating_name: str = "dynamo-operator-mutating"
    crd_names: tuple[str, ...] = CONVERTED_CRDS
    extra_names: tuple[str, ...] = ()
    check_interval_s: float = 3600.0
    folder_interval_s: float = 20.0

    @property
    def dns_names(self) -> tuple[str, ...]:
        service = f"{self.service_name}.{self.namespace}.svc"
        return (service, f"{service}.cluster.local", *self.extra_names)
