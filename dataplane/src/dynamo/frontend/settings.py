"""Everything a frontend is told at start: flags and environment, read once into frozen values.

Upstream's flags that this frontend does not need are accepted with one warning that says what replaces them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dynamo.frontend.listener import Limits
from dynamo.frontend.pipeline import Policy
from dynamo.frontend.readiness import NamespaceFilter
from dynamo.frontend.upstream import Deadlines
from dynamo.process.flags import Flag, FlagError, Retired, boolean, number, one_of, parse_flags
from dynamo.router import ROUTER_FLAGS, ROUTER_RETIRED, RouterConfig, router_config

_SECONDS = number(float, least=0)
CLUSTER_SETTLE_S = 5.0
_ENGINE = "the engine parses tools and reasoning; set its own flags on the worker"
_HTTP = "workers are reached over HTTP straight from the frontend"
_NO_GRPC = "there is no KServe gRPC server; use the OpenAI routes"
_NO_ANTHROPIC = "there are no Anthropic routes; use /v1/chat/completions"

FLAGS: tuple[Flag, ...] = (
    Flag("--namespace", str, None, ("DYN_NAMESPACE",), "Serve workers of this namespace only; unset: of all."),
    Flag("--namespace-prefix", str, None, ("DYN_NAMESPACE_PREFIX",),
         "Serve workers of namespaces that begin so; wins over --namespace."),
    Flag("--namespace-prefix-strict", boolean, False, ("DYN_NAMESPACE_PREFIX_STRICT",),
         "The prefix stands for itself and its generations (-xxxxxxxx) only."),
    Flag("--http-host", str, "0.0.0.0", ("DYN_HTTP_HOST",), "Address to listen on."),  # noqa: S104  # servers do
    Flag("--http-port", number(int, least=0, most=65535), 8000, ("DYN_HTTP_PORT",), "Port; 0 picks one."),
    Flag("--tls-cert-path", Path, None, ("DYN_TLS_CERT_PATH",), "Certificate chain (PEM); needs --tls-key-path."),
    Flag("--tls-key-path", Path, None, ("DYN_TLS_KEY_PATH",), "Private key (PEM)."),
    Flag("--tls-client-ca-cert-path", Path, None, ("DYN_TLS_CLIENT_CA_CERT_PATH",),
         "Clients must show a certificate of this CA."),
    Flag("--metrics-prefix", str, "dynamo_frontend", ("DYN_METRICS_PREFIX",), "Prefix of the frontend's metrics."),
    Flag("--migration-limit", number(int, least=0), 0, ("DYN_MIGRATION_LIMIT",),
         "Times a stream may move to another worker. Only 0 works now: a cut stream ends with an error."),
    Flag("--discovery-backend", one_of("file", "mem", "etcd", "kubernetes"), "file", ("DYN_DISCOVERY_BACKEND",),
         "Where workers are found."),
    Flag("--tokenizer", one_of("default", "fastokens", "basetenkenizer"), "default", ("DYN_TOKENIZER",),
         "Tokenizer library; default and fastokens fall back to tokenizers where fastokens cannot load a file."),
)  # fmt: skip

ENV: tuple[Flag, ...] = (
    Flag("--body-limit-mb", number(float, least=0.001), 192.0, ("DYN_HTTP_BODY_LIMIT_MB",)),
    Flag("--settle-s", _SECONDS, None, ("DYN_GRACEFUL_SHUTDOWN_GRACE_PERIOD_SECS",)),
    Flag("--drain-s", _SECONDS, 30.0, ("DYN_HTTP_GRACEFUL_SHUTDOWN_TIMEOUT_SECS",)),
    Flag("--overload-status", number(int, least=400, most=599), 529, ("DYN_HTTP_OVERLOAD_STATUS_CODE",)),
    Flag("--between-bytes-s", _SECONDS, 0.0, ("DYN_HTTP_BACKEND_STREAM_TIMEOUT_SECS",)),
    Flag("--first-byte-s", _SECONDS, 0.0, ("DYN_HTTP_BACKEND_FIRST_BYTE_TIMEOUT_SECS",)),
    Flag("--connect-s", _SECONDS, 5.0, ("DYN_HTTP_BACKEND_CONNECT_TIMEOUT_SECS",)),
    Flag("--probe-every-s", _SECONDS, 3.0, ("DYN_HTTP_BACKEND_HEALTH_INTERVAL_SECS",)),
    Flag("--inhibit-s", _SECONDS, 5.0, ("DYN_RUNTIME_INHIBITED_DURATION_SECS",)),
    Flag("--force-usage", boolean, False, ("DYN_ENABLE_FORCE_INCLUDE_USAGE",)),
    Flag("--no-admin", boolean, False, ("DYN_DISABLE_FRONTEND_ADMIN_API",)),
    Flag("--ignore-unsupported", boolean, False, ("DYN_IGNORE_OPENAI_FE_UNSUPPORTED_FIELDS",)),
    Flag("--ignore-nvext", boolean, False, ("DYN_DISABLE_FRONTEND_NVEXT",)),
    Flag("--backlog", number(int, least=1), 2048, ("DYN_HTTP_LISTEN_BACKLOG",)),
    Flag("--fd-limit", number(int, least=64), 8192, ("DYN_FRONTEND_FD_LIMIT_TARGET",)),
    Flag("--tokenizer-cache", boolean, True, ("DYN_TOKENIZER_CACHE",)),
    Flag("--tokenizer-cache-bytes", number(int, least=0), 64 * 2**20, ("DYN_TOKENIZER_CACHE_BYTES",)),
)
"""Settings that come from the environment only; their flag names are never offered."""

RETIRED: tuple[Retired, ...] = (
    Retired("--interactive", "run `dynamo up` for a chat in the terminal", False, ("DYN_INTERACTIVE",)),
    Retired("-i", "run `dynamo up` for a chat in the terminal", False),
    *(Retired(f"--tcp-tls-{name}", _HTTP) for name in ("cert-path", "key-path", "ca-cert-path")),
    *(Retired(f"--nats-tls-{name}", "no broker is used") for name in ("cert-path", "key-path", "ca-cert-path")),
    Retired("--migration-max-seq-len", "streams do not move between workers", True, ("DYN_MIGRATION_MAX_SEQ_LEN",)),
    Retired("--model-name", "models are what the workers' cards say", True, ("DYN_MODEL_NAME",)),
    Retired("--model-path", "tokenizer and template come from the workers", True, ("DYN_MODEL_PATH",)),
    Retired("--kserve-grpc-server", _NO_GRPC, False, ("DYN_KSERVE_GRPC_SERVER",)),
    Retired("--grpc-metrics-port", _NO_GRPC, True, ("DYN_GRPC_METRICS_PORT",)),
    Retired("--dump-config-to", "`--help` shows settings and defaults", True, ("DYN_DUMP_CONFIG_TO",)),
    Retired("--frontend-route-extension", "put further routes on a proxy in front", True,
            ("DYN_FRONTEND_ROUTE_EXTENSIONS",)),
    Retired("--request-plane", _HTTP, True, ("DYN_REQUEST_PLANE",)),
    Retired("--response-plane", _HTTP, True, ("DYN_RESPONSE_PLANE",)),
    Retired("--event-plane", "KV events come over ZMQ straight from the workers", True, ("DYN_EVENT_PLANE",)),
    Retired("--enable-anthropic-api", _NO_ANTHROPIC, False, ("DYN_ENABLE_ANTHROPIC_API",)),
    Retired("--strip-anthropic-preamble", _NO_ANTHROPIC, False, ("DYN_STRIP_ANTHROPIC_PREAMBLE",)),
    Retired("--enable-streaming-tool-dispatch", _ENGINE, False, ("DYN_ENABLE_STREAMING_TOOL_DISPATCH",)),
    Retired("--enable-streaming-reasoning-dispatch", _ENGINE, False, ("DYN_ENABLE_STREAMING_REASONING_DISPATCH",)),
    Retired("--reasoning-field-name", _ENGINE, True, ("DYN_REASONING_FIELD_NAME",)),
    Retired("--exclude-tools-when-tool-choice-none", _ENGINE, False, ("DYN_EXCLUDE_TOOLS_WHEN_TOOL_CHOICE_NONE",)),
    Retired("--tool-call-parser", _ENGINE),
    Retired("--reasoning-parser", _ENGINE),
    Retired("--dyn-chat-processor", "the engine renders and parses; the frontend forwards bytes", True,
            ("DYN_CHAT_PROCESSOR",)),
    Retired("--dyn-preprocess-workers", "the engine preprocesses", True, ("DYN_PREPROCESS_WORKERS",)),
    Retired("--dyn-debug-perf", "/metrics has the stages' durations", False, ("DYN_DEBUG_PERF",)),
    Retired("--tokenizer-fallback", "falling back to tokenizers is always on", False, ("DYN_TOKENIZER_FALLBACK",)),
    Retired("--trust-remote-code", "the frontend runs no code of models", False, ("DYN_TRUST_REMOTE_CODE",)),
    Retired("--no-kv-events", "--no-router-kv-events turns KV events off", False),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Tls:
    """PEM files."""

    certificate: Path
    key: Path
    client_ca: Path | None
    """Clients must show a certificate of this authority; None: anyone may connect."""


@dataclass(frozen=True, slots=True)
class Settings:
    """A field per thing that can be set; see FLAGS and ENV for the meaning of each."""

    host: str
    port: int
    tls: Tls | None
    namespaces: NamespaceFilter
    discovery: str
    metrics_prefix: str
    migration_limit: int
    router: RouterConfig
    limits: Limits
    deadlines: Deadlines
    policy: Policy
    settle_s: float
    """Between not being ready any more and taking no new connections: those who send clients here must have noticed.

    By default 5 s in a cluster, where a Service forgets a pod within a second or two, and nothing elsewhere.
    """
    drain_s: float
    """For streams to finish after that; with `settle_s` less than a pod's 60 s between SIGTERM and SIGKILL."""
    probe_every_s: float
    """How often each worker is asked for a sign of life; who stands still is noticed within twice that. 0: never."""
    allows_admin: bool
    backlog: int
    fd_limit: int
    tokenizer_cache_bytes: int
    """0: no cache."""


def read_settings(argv: Sequence[str], env: Mapping[str, str]) -> tuple[Settings, tuple[str, ...]]:
    """Settings and warnings. Raises FlagError."""
    parsed = parse_flags(argv, env, [*FLAGS, *ROUTER_FLAGS], [*RETIRED, *ROUTER_RETIRED])
    values = {**parse_flags([], env, ENV).values, **parsed.values}
    warnings = list(parsed.warnings)
    if values["migration_limit"]:
        warnings.append("--migration-limit has no effect yet: a stream whose worker dies ends with an error frame")
    return _settings(values), tuple(warnings)


def _settings(values: Mapping[str, Any]) -> Settings:
    body_bytes = int(values["body_limit_mb"] * 2**20)
    return Settings(
        host=values["http_host"],
        port=values["http_port"],
        tls=_tls(values),
        namespaces=NamespaceFilter(values["namespace"], values["namespace_prefix"], values["namespace_prefix_strict"]),
        discovery=values["discovery_backend"],
        metrics_prefix=values["metrics_prefix"],
        migration_limit=values["migration_limit"],
        router=router_config(values),
        limits=Limits(body_bytes=body_bytes, connections=max(64, values["fd_limit"] // 2)),
        deadlines=Deadlines(values["connect_s"], values["first_byte_s"], values["between_bytes_s"]),
        policy=Policy(
            overload_status=values["overload_status"],
            inhibit_s=values["inhibit_s"],
            hides_usage=not values["force_usage"],
            allows_unknown_fields=values["ignore_unsupported"],
            allows_hints=not values["ignore_nvext"],
        ),
        settle_s=_settle_s(values),
        drain_s=values["drain_s"],
        probe_every_s=values["probe_every_s"],
        allows_admin=not values["no_admin"],
        backlog=values["backlog"],
        fd_limit=values["fd_limit"],
        tokenizer_cache_bytes=values["tokenizer_cache_bytes"] if values["tokenizer_cache"] else 0,
    )


def _settle_s(values: Mapping[str, Any]) -> float:
    if (asked := values["settle_s"]) is not None:
        return float(asked)
    return CLUSTER_SETTLE_S if values["discovery_backend"] == "kubernetes" else 0.0


def _tls(values: Mapping[str, Any]) -> Tls | None:
    certificate, key, client_ca = values["tls_cert_path"], values["tls_key_path"], values["tls_client_ca_cert_path"]
    if certificate is None and key is None:
        if client_ca is not None:
            raise FlagError("--tls-client-ca-cert-path: found without --tls-cert-path and --tls-key-path")
        return None
    if certificate is None or key is None:
        missing = "--tls-cert-path" if certificate is None else "--tls-key-path"
        raise FlagError(f"{missing}: a certificate and its key must come together")
    for name, path in (
        ("--tls-cert-path", certificate),
        ("--tls-key-path", key),
        ("--tls-client-ca-cert-path", client_ca),
    ):
        if path is not None and not path.is_file():
            raise FlagError(f"{name}: found {str(path)!r}; expected a readable file")
    return Tls(certificate, key, client_ca)
