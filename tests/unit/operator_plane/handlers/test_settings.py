"""The configuration file: read whole, or refused by key."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dynamo_operator.handlers.facts import admission_facts, render_context
from dynamo_operator.handlers.settings import BadSettings, load_settings, parse_settings

GROVE = ("grove.io/v1alpha1", "PodCliqueSet")


@pytest.mark.parametrize(
    ("written", "words"),
    [
        pytest.param({"servr": 1}, ("servr: unknown key", "allowed here:", "server"), id="unknown-key"),
        pytest.param({"server": {"webhook": {"prt": 1}}}, ("server.webhook.prt: unknown key", "port"), id="beneath"),
        pytest.param(
            {"server": {"metrics": {"port": "x"}}}, ("server.metrics.port: found 'x'", "`int`"), id="wrong-type"
        ),
        pytest.param({"server": {"metrics": {"port": 70000}}}, ("server.metrics.port", "<= 65535"), id="range"),
        pytest.param(
            {"logging": {"level": "loud"}}, ("logging.level: found 'loud'", "debug, info, warning, error"), id="enum"
        ),
        pytest.param(
            {"namespace": {"scope": {"leaseDuration": "30"}}},
            ("namespace.scope.leaseDuration: found '30'", "30s"),
            id="duration-without-unit",
        ),
        pytest.param(
            {"namespace": {"scope": {"leaseDuration": "10s", "leaseRenewInterval": "10s"}}},
            ("leaseRenewInterval", "found 10s", "less than leaseDuration (10s)"),
            id="renewals-too-rare",
        ),
        pytest.param([1], ("the file: found [1]", "object"), id="no-map"),
    ],
)
def test_a_bad_key_is_named_with_what_is_allowed(written: Any, words: tuple[str, ...]) -> None:
    with pytest.raises(BadSettings) as refused:
        parse_settings(written)
    assert all(word in str(refused.value) for word in words), str(refused.value)


def test_an_empty_file_has_every_default() -> None:
    settings = parse_settings(None)
    assert (settings.server.webhook.port, settings.server.health_probe.port, settings.server.metrics.port) == (
        9443,
        8081,
        8080,
    )
    assert not settings.leader_election.enabled
    assert settings.service_env == {}


def test_a_null_is_an_unset_key() -> None:
    assert parse_settings({"server": None, "logging": {"level": None}}) == parse_settings({})


@pytest.mark.parametrize(("text", "seconds"), [("30s", 30), ("15m", 900), ("1h30m", 5400), ("500ms", 0.5)])
def test_durations_are_read(text: str, seconds: float) -> None:
    written = {"orchestrators": {"grove": {"terminationDelay": text}}}
    assert parse_settings(written).orchestrators.grove.termination_delay == seconds


@pytest.mark.parametrize(
    ("enabled", "served", "expected"),
    [
        pytest.param(None, {GROVE}, True, id="unset-and-there"),
        pytest.param(None, set(), False, id="unset-and-not-there"),
        pytest.param(False, {GROVE}, False, id="off"),
        pytest.param(True, set(), False, id="asked-for-and-not-there"),
    ],
)
def test_grove_is_used_if_wanted_and_there(enabled: bool | None, served: set[tuple[str, str]], expected: bool) -> None:
    settings = parse_settings({"orchestrators": {"grove": {"enabled": enabled}}})
    assert render_context(settings, served).has_grove is expected
    assert admission_facts(settings, served).has_grove is expected


def test_rendering_is_told_what_the_file_says() -> None:
    settings = parse_settings(
        {
            "infrastructure": {"natsAddress": "nats://n:4222", "modelExpressURL": "http://m"},
            "ingress": {"hostSuffix": "example.org", "controllerTLSSecretName": "tls"},
            "rbac": {"plannerClusterRoleName": "p"},
            "namespace": {"restricted": "shop"},
        }
    )
    context = render_context(settings, set())
    assert context.service_env == {"NATS_SERVER": "nats://n:4222", "MODEL_EXPRESS_URL": "http://m"}
    assert (context.ingress.host_suffix, context.ingress.tls_secret_name) == ("example.org", "tls")
    assert (context.planner_cluster_role, context.shared_role_kind) == ("p", "Role")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param("a: [", "is no YAML", id="broken"),
        pytest.param("servr: 1", "servr: unknown key", id="unknown-key"),
        pytest.param(None, "cannot be read", id="missing"),
    ],
)
def test_a_bad_file_is_named(tmp_path: Path, text: str | None, words: str) -> None:
    path = tmp_path / "config.yaml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(BadSettings, match=words) as refused:
        load_settings(path)
    assert str(path) in str(refused.value)
