"""The shell's settings: environment, precedence, and what a wrong value is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from dynamo.process.flags import FlagError, parse_flags
from dynamo.wire.cards import ModelType
from dynamo.worker.canary import CanaryTerms
from dynamo.worker.config import COMMON_WORKER_FLAGS, COMMON_WORKER_RETIRED, WorkerConfig, worker_config


def configured(argv: tuple[str, ...] = (), index: int = 0, **env: str) -> WorkerConfig:
    env = {"DYN_TCP_RPC_HOST": "127.0.0.1", **env}
    values = parse_flags(argv, env, COMMON_WORKER_FLAGS, COMMON_WORKER_RETIRED).values
    return worker_config(values, env, engine="mocker", model="tiny", index=index)


def test_operator_environment_is_read() -> None:
    config = configured(
        DYN_NAMESPACE="default-agg",
        DYN_NAMESPACE_WORKER_SUFFIX="0a1b2c3d",
        DYN_COMPONENT="decode",
        POD_NAME="agg-decode-0",
        DYN_SYSTEM_PORT="9090",
        DYN_LORA_ENABLED="true",
        DYN_GRACEFUL_SHUTDOWN_GRACE_PERIOD_SECS="0.5",
        DYN_RUNTIME_GRACEFUL_SHUTDOWN_TIMEOUT_SECS="7",
        DYN_DISCOVERY_BACKEND="mem",
        DYN_FILE_KV="/kv",
    )

    assert (config.namespace, config.component, config.name) == ("default-agg-0a1b2c3d", "decode", "agg-decode-0")
    assert (config.system_port, config.lora_enabled, config.grace_s, config.drain_s) == (9090, True, 0.5, 7.0)
    assert (config.discovery_backend, dict(config.discovery_env)) == (
        "mem",
        {"DYN_FILE_KV": "/kv", "POD_NAME": "agg-decode-0"},
    )


def test_defaults_are_upstreams() -> None:
    config = configured()
    assert (config.namespace, config.component, config.grace_s, config.drain_s) == ("dynamo", "backend", 5.0, 30.0)


@pytest.mark.parametrize("port", ["-1", "0"])
def test_the_shell_always_has_a_system_port(port: str) -> None:
    assert configured(DYN_SYSTEM_PORT=port).system_port == 0


def test_second_worker_of_a_process_takes_any_port_and_its_own_name() -> None:
    config = configured(index=1, DYN_SYSTEM_PORT="9090", POD_NAME="p")
    assert (config.system_port, config.name) == (0, "p-1")


def test_each_incarnation_has_its_own_id() -> None:
    assert len({configured().worker_id for _ in range(20)}) == 20
    assert all(0 <= configured().worker_id < 1 << 63 for _ in range(20))


def test_loopback_workers_listen_on_loopback_only() -> None:
    assert {configured().system_host, configured().event_host} == {"127.0.0.1"}
    assert configured(DYN_TCP_RPC_HOST="10.0.0.7").system_host == "0.0.0.0"
    assert configured(DYN_SYSTEM_HOST="10.0.0.7").system_host == "10.0.0.7"


def test_endpoint_names_namespace_and_component() -> None:
    config = configured(("--endpoint", "dyn://ns.prefill.generate"), DYN_NAMESPACE_WORKER_SUFFIX="x")
    assert (config.namespace, config.component) == ("ns-x", "prefill")


def test_endpoint_types_limit_what_the_model_answers() -> None:
    assert configured(("--endpoint-types", "chat")).model_types == (ModelType.CHAT,)


@pytest.mark.parametrize(
    ("argv", "env", "message"),
    [
        pytest.param((), {"DYN_SYSTEM_PORT": "x"}, "DYN_SYSTEM_PORT: found 'x'; expected an integer", id="port-text"),
        pytest.param((), {"DYN_SYSTEM_PORT": "70000"}, "DYN_SYSTEM_PORT: found '70000'", id="port-range"),
        pytest.param((), {"DYN_LORA_ENABLED": "maybe"}, "DYN_LORA_ENABLED", id="boolean"),
        pytest.param((), {"DYN_TCP_RPC_HOST": "a b"}, "DYN_TCP_RPC_HOST: found 'a b'", id="peer-host"),
        pytest.param((), {"DYN_TCP_RPC_HOST": "http://a:1/"}, "DYN_TCP_RPC_HOST: found", id="peer-url"),
        pytest.param((), {"DYN_SYSTEM_HEALTH_PATH": "h"}, "DYN_SYSTEM_HEALTH_PATH: found 'h'", id="path"),
        pytest.param(
            (), {"DYN_GRACEFUL_SHUTDOWN_GRACE_PERIOD_SECS": "-1"}, "DYN_GRACEFUL_SHUTDOWN_GRACE_PERIOD_SECS", id="grace"
        ),
        pytest.param(("--endpoint", "a.b"), {}, "--endpoint: found 'a.b'; expected dyn://", id="endpoint"),
        pytest.param(("--endpoint-types", "chat,smell"), {}, "--endpoint-types: found 'chat,smell'", id="types"),
    ],
)
def test_wrong_values_are_named(argv: tuple[str, ...], env: dict[str, str], message: str) -> None:
    with pytest.raises(FlagError, match=message):
        configured(argv, **env)


def test_retired_flags_start_with_a_warning() -> None:
    parsed = parse_flags(
        ("--request-plane", "tcp", "--event-plane=nats", "--fpm-trace"), {}, COMMON_WORKER_FLAGS, COMMON_WORKER_RETIRED
    )
    assert len(parsed.warnings) == 3


def test_pods_of_an_ipv6_cluster_listen_on_ipv6() -> None:
    config = configured(DYN_TCP_RPC_HOST="", POD_IP="fd00::7")
    assert (config.peer_host, config.system_host, config.event_host) == ("fd00::7", "::", "::")


def test_health_checks_are_off_unless_asked_for_and_then_upstreams() -> None:
    assert configured(DYN_CANARY_WAIT_TIME="1").canary is None
    assert configured(DYN_HEALTH_CHECK_ENABLED="true").canary == CanaryTerms(10.0, 3.0, None)
    assert configured(
        DYN_HEALTH_CHECK_ENABLED="1",
        DYN_CANARY_WAIT_TIME="4",
        DYN_HEALTH_CHECK_REQUEST_TIMEOUT="2.5",
        DYN_HEALTH_CHECK_PAYLOAD='{"prompt": "x"}',
    ).canary == CanaryTerms(4.0, 2.5, {"prompt": "x"})


def test_health_check_payload_is_read_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "ask.json").write_text('{"token_ids": [7]}')

    config = configured(("--health-check-payload", f"@{tmp_path / 'ask.json'}"), DYN_HEALTH_CHECK_ENABLED="true")

    assert config.canary is not None
    assert config.canary.body == {"prompt": [7]}


@pytest.mark.parametrize("text", ["[1]", "{", "@/nowhere.json", "3"])
def test_wrong_health_check_payload_is_named(text: str) -> None:
    with pytest.raises(FlagError, match=r"(?s)DYN_HEALTH_CHECK_PAYLOAD.*expected a JSON object or @file"):
        configured(DYN_HEALTH_CHECK_PAYLOAD=text)


@pytest.mark.parametrize("name", ["DYN_CANARY_WAIT_TIME", "DYN_HEALTH_CHECK_REQUEST_TIMEOUT"])
def test_health_check_times_are_above_zero(name: str) -> None:
    with pytest.raises(FlagError, match=name):
        configured(**{name: "0"})
