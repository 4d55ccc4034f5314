"""The configuration document: known names, old names, names without effect, and refusals that name what is wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dynamo.planner.config import OTHERWISE, PlannerConfig, read_config
from dynamo.planner.errors import ConfigError
from dynamo.planner.settings import read_settings
from dynamo.wire.cards import Role

GRAPH = {"DYN_PARENT_DGD_K8S_NAME": "g"}


def test_defaults_are_those_of_existing_manifests() -> None:
    config, warnings = read_config("{}")

    assert warnings == ()
    assert (config.mode, config.optimization_target, config.environment) == ("disagg", "throughput", "kubernetes")
    assert (config.ttft_ms, config.itl_ms, config.max_gpu_budget, config.min_gpu_budget) == (500, 50, 8, -1)
    assert (config.load_adjustment_interval_seconds, config.throughput_adjustment_interval_seconds) == (5, 180)
    assert config.policy().bounds.max_gpus == 8


@pytest.mark.parametrize("form", ["json", "yaml", "file"])
def test_document_comes_inline_or_from_a_file(form: str, tmp_path: Path) -> None:
    path = tmp_path / "planner"
    path.write_text("mode: agg\nttft: 250\n")
    text = {"json": '{"mode": "agg", "ttft": 250}', "yaml": "mode: agg\nttft: 250", "file": str(path)}[form]

    config, _ = read_config(text)

    assert (config.mode, config.ttft_ms) == ("agg", 250)


def test_targets_matter_for_the_sla_only() -> None:
    sla = read_config('{"optimization_target": "sla", "ttft_ms": 300, "itl_ms": 20}')[0].policy().targets
    default = read_config('{"ttft_ms": 300}')[0].policy().targets

    assert (sla.ttft_s, sla.itl_s) == (0.3, 0.02)
    assert (default.ttft_s, default.itl_s) == (None, None)


def test_floors_per_role_beat_the_common_one() -> None:
    config, warnings = read_config('{"min_endpoint": 0, "decode_min_endpoint": 3, "prefill_engine_num_gpu": 4}')

    assert config.policy().bounds.floors == {Role.AGGREGATED: 1, Role.PREFILL: 1, Role.DECODE: 3}
    assert config.gpus()[Role.PREFILL] == 4
    assert warnings == ("min_endpoint 0 keeps one worker: without any, requests are refused and no demand would show",)


@pytest.mark.parametrize("name", sorted(OTHERWISE))
def test_names_without_effect_cost_one_warning(name: str) -> None:
    _, warnings = read_config(json.dumps({name: "x"}))

    assert [warning.split(" has no effect here: ")[0] for warning in warnings] == [name]
    assert name not in PlannerConfig.model_fields


@pytest.mark.parametrize(
    ("document", "words"),
    [
        pytest.param('{"ttft_mss": 1}', "ttft_mss: unknown setting; did you mean ttft_ms?", id="typo"),
        pytest.param('{"zzz": 1}', "zzz: unknown setting; known are", id="unknown"),
        pytest.param('{"mode": "both"}', "mode: found 'both'; input should be 'disagg'", id="mode"),
        pytest.param('{"itl_ms": -1}', "itl_ms: found -1; input should be greater than 0", id="negative"),
        pytest.param('{"environment": "global-planner"}', "one planner serves one graph", id="global-planner"),
        pytest.param(
            '{"load_adjustment_interval_seconds": 60, "throughput_adjustment_interval_seconds": 60}',
            "load_adjustment_interval_seconds: found 60; expected less than",
            id="intervals",
        ),
        pytest.param(
            '{"optimization_target": "sla", "enable_throughput_scaling": false}', "expected one to be on", id="off"
        ),
        pytest.param('{"mode": "agg", "prefill_min_endpoint": 1}', "allowed in disagg and prefill", id="no-role"),
        pytest.param('{"max_gpu_budget": 2, "min_gpu_budget": 4}', "min_gpu_budget: found 4", id="budgets"),
        pytest.param("[1]", "found list; expected an object of settings", id="list"),
        pytest.param("{", "not JSON or YAML", id="broken"),
        pytest.param("nowhere.json", "--config nowhere.json: No such file", id="no-file"),
    ],
)
def test_refusal_names_what_is_wrong(document: str, words: str) -> None:
    with pytest.raises(ConfigError) as refused:
        read_config(document)

    assert words in str(refused.value)


def test_graph_is_needed_in_a_cluster() -> None:
    with pytest.raises(ConfigError, match="DYN_PARENT_DGD_K8S_NAME: not set"):
        read_settings([], {})

    settings, _ = read_settings([], {**GRAPH, "PLANNER_PROMETHEUS_PORT": "9085", "POD_NAMESPACE": "ns"})
    assert (settings.graph, settings.graph_namespace, settings.metrics_port, settings.system_port) == (
        "g", "ns", 9085, 9090,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("argv", "env", "words"),
    [
        pytest.param(["--confg", "{}"], GRAPH, "--config", id="flag"),
        pytest.param([], {**GRAPH, "DYN_SYSTEM_PORT": "x"}, "DYN_SYSTEM_PORT", id="port"),
        pytest.param(
            ["--config", '{"environment": "virtual"}'],
            {"DYN_PLANNER_WORKER_URLS": "aggregated=http://a"},
            "expected prefill=http://host:port, decode=http://host:port",
            id="role",
        ),
        pytest.param(
            ["--config", '{"environment": "virtual"}'],
            {"DYN_PLANNER_FRONTEND_URLS": "a:1"},
            "DYN_PLANNER_FRONTEND_URLS: found 'a:1'",
            id="url",
        ),
    ],
)
def test_bad_command_lines_and_variables_are_named(argv: list[str], env: dict[str, str], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        read_settings(argv, env)
