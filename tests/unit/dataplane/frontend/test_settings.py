from __future__ import annotations

import csv
from pathlib import Path

import pytest

from dynamo.frontend.settings import read_settings
from dynamo.process.flags import FlagError
from dynamo.router import Mode
from tests.shared import shared


def test_defaults_are_upstreams() -> None:
    settings, warnings = read_settings([], {})

    assert (settings.host, settings.port, settings.discovery) == ("0.0.0.0", 8000, "file")
    assert settings.limits.body_bytes == 192 * 2**20
    assert settings.policy.overload_status == 529
    assert (settings.drain_s, settings.policy.inhibit_s) == (30.0, 5.0)
    assert settings.router.mode is Mode.ROUND_ROBIN
    assert warnings == ()


def test_flags_beat_the_environment() -> None:
    env = {"DYN_HTTP_PORT": "1", "DYN_ROUTER_MODE": "random", "DYN_NAMESPACE": "n", "DYN_HTTP_BODY_LIMIT_MB": "0.5"}
    settings, _ = read_settings(["--http-port", "2", "--router-mode=kv"], env)

    assert (settings.port, settings.router.mode, settings.namespaces.namespace) == (2, Mode.KV, "n")
    assert settings.limits.body_bytes == 2**19


@pytest.mark.parametrize(
    ("argv", "env", "words"),
    [
        pytest.param(["--http-prot", "1"], {}, ["--http-prot", "--http-port"], id="unknown-with-nearest"),
        pytest.param(["--http-port", "70000"], {}, ["--http-port", "70000", "65535"], id="port"),
        pytest.param([], {"DYN_HTTP_BODY_LIMIT_MB": "big"}, ["DYN_HTTP_BODY_LIMIT_MB", "big"], id="variable"),
        pytest.param(["--tls-cert-path", "/x"], {}, ["--tls-key-path", "together"], id="half-a-certificate"),
        pytest.param(["--tls-client-ca-cert-path", "/x"], {}, ["--tls-client-ca-cert-path"], id="ca-alone"),
        pytest.param(["--router-mode", "best"], {}, ["--router-mode", "best", "round-robin"], id="mode"),
        pytest.param(["--body-limit-mb", "1"], {}, ["--body-limit-mb"], id="environment-only"),
    ],
)
def test_wrong_settings_stop_the_start(argv: list[str], env: dict[str, str], words: list[str]) -> None:
    with pytest.raises(FlagError) as refused:
        read_settings(argv, env)

    assert [word for word in words if word not in str(refused.value)] == []


def test_missing_certificate_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FlagError, match=r"--tls-cert-path: found .*none\.pem"):
        read_settings(["--tls-cert-path", str(tmp_path / "none.pem"), "--tls-key-path", str(tmp_path)], {})


def test_flags_without_effect_warn_once_each() -> None:
    _, warnings = read_settings(["--trust-remote-code", "--dyn-chat-processor", "vllm", "--migration-limit", "3"], {})

    assert [warning.split(" ")[0] for warning in warnings] == [
        "--trust-remote-code",
        "--dyn-chat-processor",
        "--migration-limit",
    ]


def test_every_flag_that_existing_manifests_use_starts() -> None:
    values = {"--router-mode": "kv", "--namespace": "n", "--http-host": "h", "--router-temperature": "0.5"}
    with shared("reference/corpus_flags.tsv").open() as file:
        flags = [row["flag"] for row in csv.DictReader(file, delimiter="\t") if row["module"] == "dynamo.frontend"]
    assert len(flags) > 10

    for flag in flags:
        valueless = flag in {"--trust-remote-code", "--no-kv-events", "--router-kv-events", "--no-router-kv-events"}
        valueless = valueless or flag == "--enable-streaming-reasoning-dispatch"
        read_settings([flag] if valueless else [flag, values.get(flag, "1")], {})


@pytest.mark.parametrize("name", ["DYN_HTTP_PORT", "DYN_SYSTEM_PORT", "DYN_KV_CACHE_BLOCK_SIZE", "POD_NAME"])
def test_environment_of_a_rendered_pod_is_no_obstacle(name: str) -> None:
    read_settings([], {name: "16"})
