"""The operator's configuration: one YAML file, read once, whole or not at all.

Duty: turn the file into frozen values and say what is wrong with it by key, found and allowed. A null is an unset key.
Upstream's keys that mean nothing here (gpu, security, mpi, …) are accepted, so that its files start this operator too.
Callers: `__main__`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

import msgspec
import yaml

from dynamo_operator.render import IngressDefaults
from dynamo_operator.webhook import CONVERTED_CRDS, WebhookSettings

Port = Annotated[int, msgspec.Meta(ge=0, le=65535)]
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)")
_UNIT_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


class BadSettings(Exception):
    """The message names the file, the key, what was found and what is allowed."""


class Duration(float):
    """Seconds; written `30s`, `15m`, `1h30m`."""


class _Group(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    pass


class Metrics(_Group, frozen=True):
    """port: where /metrics is served, plain HTTP. secure: accepted for upstream's sake; a NetworkPolicy guards it."""

    bind_address: str = ""
    port: Port = 8080
    secure: bool = False


class HealthProbe(_Group, frozen=True):
    """port: where /healthz and /readyz are served."""

    bind_address: str = ""
    port: Port = 8081


class Webhook(_Group, frozen=True):
    """cert_provision_mode: `auto` makes and rotates certificates in the Secret, `manual` only reads it.

    configuration_name: the webhook configurations are called by it with -validating and -mutating behind.
    inject_conversion: whether this installation owns the CRDs' conversion.
    """

    enabled: bool = True
    host: str = "0.0.0.0"  # noqa: S104  a server for the whole cluster
    port: Port = 9443
    cert_provision_mode: Literal["auto", "manual"] = "auto"
    cert_dir: str = ""
    secret_name: str = "webhook-server-cert"  # noqa: S105  a name
    service_name: str = "dynamo-operator-webhook-service"
    configuration_name: str = "dynamo-operator"
    inject_conversion: bool = True


class Server(_Group, frozen=True):
    metrics: Metrics = Metrics()
    health_probe: HealthProbe = HealthProbe()
    webhook: Webhook = Webhook()


class LeaderElection(_Group, frozen=True):
    """enabled: off as upstream's bare file has it; the chart turns it on. namespace: empty is the operator's own."""

    enabled: bool = False
    id: str = "dynamo-operator"
    namespace: str = ""


class Scope(_Group, frozen=True):
    """The lease by which a restricted operator claims its namespace."""

    lease_duration: Duration = Duration(30)
    lease_renew_interval: Duration = Duration(10)


class Namespace(_Group, frozen=True):
    """restricted: the one namespace to serve; empty serves all that nobody else claims."""

    restricted: str = ""
    scope: Scope = Scope()


class Orchestrator(_Group, frozen=True):
    """enabled: unset takes it if the cluster serves it."""

    enabled: bool | None = None
    termination_delay: Duration = Duration(15 * 60)


class Enabled(_Group, frozen=True):
    enabled: bool | None = None


class Orchestrators(_Group, frozen=True):
    grove: Orchestrator = Orchestrator()
    lws: Enabled = Enabled()
    kai_scheduler: Enabled = Enabled()
    volcano_scheduler: Enabled = Enabled()


class Infrastructure(_Group, frozen=True):
    """Addresses handed to every main container; empty ones are not."""

    nats_address: str = ""
    etcd_address: str = ""
    model_express_url: str = msgspec.field(default="", name="modelExpressURL")
    prometheus_endpoint: str = ""


class Ingress(_Group, frozen=True):
    virtual_service_gateway: str = ""
    controller_class_name: str = ""
    controller_tls_secret_name: str = msgspec.field(default="", name="controllerTLSSecretName")
    host_suffix: str = ""


class ServiceMesh(_Group, frozen=True):
    provider: str = ""


class Rbac(_Group, frozen=True):
    planner_cluster_role_name: str = "dynamo-operator-planner"
    dgdr_profiling_cluster_role_name: str = ""
    epp_cluster_role_name: str = "dynamo-operator-epp"


class Mpi(_Group, frozen=True):
    ssh_secret_name: str = ""
    ssh_secret_namespace: str = ""


class Discovery(_Group, frozen=True):
    backend: Literal["kubernetes", "etcd"] = "kubernetes"


class Logging(_Group, frozen=True):
    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["json", "text"] = "json"


class Settings(_Group, frozen=True):
    """All of the file. apiVersion and kind are accepted and not looked at."""

    api_version: str = ""
    kind: str = ""
    server: Server = Server()
    leader_election: LeaderElection = LeaderElection()
    namespace: Namespace = Namespace()
    orchestrators: Orchestrators = Orchestrators()
    dra: Enabled = Enabled()
    infrastructure: Infrastructure = Infrastructure()
    ingress: Ingress = Ingress()
    service_mesh: ServiceMesh = ServiceMesh()
    rbac: Rbac = Rbac()
    mpi: Mpi = Mpi()
    checkpoint: Enabled = Enabled()
    discovery: Discovery = Discovery()
    gpu: Mapping[str, Any] = {}
    image_pull_secret_discovery: Enabled = Enabled()
    workload_security: Enabled = Enabled()
    logging: Logging = Logging()
    security: Mapping[str, Any] = {}

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is set and has no effect."""
        found = "checkpoint.enabled: found true; checkpoints are not served, and graphs that ask for them are refused"
        return (found,) if self.checkpoint.enabled else ()

    @property
    def service_env(self) -> dict[str, str]:
        """What main containers are told of the cluster's services."""
        addresses = {
            "NATS_SERVER": self.infrastructure.nats_address,
            "ETCD_ENDPOINTS": self.infrastructure.etcd_address,
            "MODEL_EXPRESS_URL": self.infrastructure.model_express_url,
            "PROMETHEUS_ENDPOINT": self.infrastructure.prometheus_endpoint,
        }
        return {name: address for name, address in addresses.items() if address}

    @property
    def ingress_defaults(self) -> IngressDefaults:
        ingress = self.ingress
        return IngressDefaults(
            host_suffix=ingress.host_suffix or IngressDefaults().host_suffix,
            class_name=ingress.controller_class_name or None,
            tls_secret_name=ingress.controller_tls_secret_name or None,
            virtual_service_gateway=ingress.virtual_service_gateway or None,
        )

    def webhook_settings(self, namespace: str) -> WebhookSettings:
        """`namespace` is the operator's own."""
        webhook = self.server.webhook
        return WebhookSettings(
            namespace=namespace,
            host=webhook.host,
            port=webhook.port,
            service_name=webhook.service_name,
            secret_name=webhook.secret_name,
            is_secret_foreign=webhook.cert_provision_mode == "manual",
            certificates_folder=Path(webhook.cert_dir) if webhook.cert_dir else None,
            validating_name=f"{webhook.configuration_name}-validating",
            mutating_name=f"{webhook.configuration_name}-mutating",
            crd_names=CONVERTED_CRDS if webhook.inject_conversion else (),
        )


def load_settings(path: Path | None) -> Settings:
    """Without a file everything has its default."""
    if path is None:
        return Settings()
    try:
        written = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadSettings(f"{path}: cannot be read: {error.strerror}") from error
    except yaml.YAMLError as error:
        raise BadSettings(f"{path}: is no YAML: {' '.join(str(error).split())}") from error
    try:
        return parse_settings(written)
    except BadSettings as error:
        raise BadSettings(f"{path}: {error}") from error


def parse_settings(written: Any) -> Settings:
    written = _without_nulls({} if written is None else written)
    _refuse_unknown_keys(written, Settings, "")
    try:
        settings = msgspec.convert(written, Settings, dec_hook=_duration)
    except msgspec.ValidationError as error:
        raise BadSettings(_in_plain_words(str(error), written)) from error
    scope = settings.namespace.scope
    if scope.lease_renew_interval >= scope.lease_duration:
        raise BadSettings(
            f"namespace.scope.leaseRenewInterval: found {scope.lease_renew_interval:g}s; "
            f"allowed is less than leaseDuration ({scope.lease_duration:g}s)"
        )
    return settings


def _refuse_unknown_keys(written: Any, group: Any, path: str) -> None:
    if not isinstance(written, dict):
        return
    fields = {field.encode_name: field for field in msgspec.structs.fields(group)}
    for key, value in written.items():
        if key not in fields:
            raise BadSettings(f"{path}{key}: unknown key; allowed here: {', '.join(sorted(fields))}")
        type_ = next((t for t in (fields[key].type, *get_args(fields[key].type)) if _is_group(t)), None)
        if type_ is not None:
            _refuse_unknown_keys(value, type_, f"{path}{key}.")


def _is_group(type_: Any) -> bool:
    return isinstance(type_, type) and issubclass(type_, _Group)


def _duration(type_: type, value: Any) -> Any:
    if type_ is not Duration:
        raise NotImplementedError(type_)
    text = str(value)
    parts = _DURATION.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise ValueError(f"found {text!r}; allowed is a duration such as 30s, 15m or 1h30m")
    return Duration(sum(float(number) * _UNIT_S[unit] for number, unit in parts))


def _without_nulls(written: Any) -> Any:
    if not isinstance(written, dict):
        return written
    return {key: _without_nulls(value) for key, value in written.items() if value is not None}


def _in_plain_words(message: str, written: Any) -> str:
    """msgspec's `Expected … - at `$.a.b`` with the key first, and what was found and is allowed."""
    text, _, path = message.partition(" - at `$")
    keys = [key for key in path.rstrip("`").split(".") if key]
    type_: Any = Settings
    for key in keys:
        written = written[key]
        type_ = next(field.type for field in msgspec.structs.fields(type_) if field.encode_name == key)
    if get_origin(type_) is Literal:
        text = f"found {written!r}; allowed: {', '.join(get_args(type_))}"
    elif not text.startswith("found"):
        text = f"found {written!r}; {text[:1].lower()}{text[1:]}"
    return f"{'.'.join(keys) or 'the file'}: {text}"
