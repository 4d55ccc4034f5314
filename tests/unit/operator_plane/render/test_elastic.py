"""Elastic expert parallelism in a single pod: it heads a Ray cluster that pods which come later can join."""

from __future__ import annotations

import shlex
from typing import Any

import pytest

from tests.unit.operator_plane.render.factories import a_clique, a_component, a_graph, env_of, main_container

ENGINE = ["python3", "-m", "dynamo.vllm"]
ELASTIC = ["--enable-elastic-ep", "--data-parallel-backend", "ray"]


def _main(*args: str, command: list[str] | None = None, **main: Any) -> dict[str, Any]:
    chosen = {"command": ENGINE if command is None else command, "args": list(args), **main}
    return main_container(a_graph(a_component(main=chosen)))


def test_a_single_elastic_pod_heads_a_ray_cluster() -> None:
    main = _main(*ELASTIC, "--model", "a b")
    (script,) = main["args"]
    assert main["command"] == ["/bin/sh", "-c"]
    assert script.startswith('ray start --head --port=6379 --node-ip-address="$POD_IP" --block &\n')
    assert shlex.split(script.splitlines()[-1]) == ["exec", *ENGINE, *ELASTIC, "--model", "a b"]
    by_name = {each["name"]: each for each in main["env"]}
    for name in ("POD_IP", "VLLM_DP_MASTER_IP"):
        assert by_name[name]["valueFrom"] == {"fieldRef": {"fieldPath": "status.podIP"}}
    assert "livenessProbe" in main


@pytest.mark.parametrize(
    "args",
    [
        pytest.param(["--enable-elastic-ep", "-dpb", "ray"], id="short"),
        pytest.param(["--enable-elastic-ep", "--data-parallel-backend=ray"], id="one-word"),
    ],
)
def test_the_backend_may_be_spelt_as_the_engine_takes_it(args: list[str]) -> None:
    assert "ray start --head" in _main(*args)["args"][0]


def test_a_script_is_headed_as_a_whole() -> None:
    text = f"{shlex.join([*ENGINE, *ELASTIC])} | tee log"
    last = _main(text, command=["sh", "-c"])["args"][0].splitlines()[-1]
    assert shlex.split(last) == ["exec", "sh", "-c", text]


@pytest.mark.parametrize(
    ("component", "spec"),
    [
        pytest.param(a_component(main={"command": ENGINE, "args": ELASTIC[:1]}), {}, id="another-backend"),
        pytest.param(a_component(main={"command": ENGINE, "args": ELASTIC[1:]}), {}, id="not-elastic"),
        pytest.param(
            a_component(type_=None, main={"command": ENGINE, "args": ELASTIC}),
            {"backendFramework": "vllm"},
            id="no-worker",
        ),
        pytest.param(a_component(main={"command": ["run"], "args": ELASTIC}), {}, id="no-vllm"),
    ],
)
def test_what_is_not_elastic_vllm_runs_as_written(component: dict[str, Any], spec: dict[str, Any]) -> None:
    main = main_container(a_graph(component, **spec))
    written = component["podTemplate"]["spec"]["containers"][0]
    assert (main["command"], main["args"]) == (written["command"], written["args"])
    assert "POD_IP" not in env_of(main)


def test_an_address_of_the_users_stays() -> None:
    assert env_of(_main(*ELASTIC, env=[{"name": "VLLM_DP_MASTER_IP", "value": "1.2.3.4"}]))["VLLM_DP_MASTER_IP"] == (
        "1.2.3.4"
    )


def test_a_clique_of_one_pod_heads_its_cluster_too() -> None:
    graph = a_graph(a_component(main={"command": ENGINE, "args": ELASTIC}))
    assert "ray start --head" in a_clique(graph)["spec"]["podSpec"]["containers"][0]["args"][0]
