"""Engines of one pod that stand in for each other."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.operator_plane.render.factories import a_component, a_graph, env_of, pod_spec, rendered

GPUS = {"resources": {"limits": {"nvidia.com/gpu": "2"}}}
SHARED = {"gpuMemoryService": {}, "failover": {}}


def _engines(**main: Any) -> list[dict[str, Any]]:
    graph = a_graph(a_component(main={**GPUS, **main}, experimental=SHARED), backendFramework="vllm")
    containers: list[dict[str, Any]] = pod_spec(graph)["containers"]
    return containers


@pytest.mark.parametrize(
    ("main", "command", "args"),
    [
        pytest.param(
            {"command": ["run"], "args": ["-x"]}, ["run"], ["-x", "--master-port", "29600"], id="words-after-words"
        ),
        pytest.param({"command": ["run", "-x"]}, ["run", "-x"], ["--master-port", "29600"], id="command-only"),
        pytest.param(
            {"command": ["/bin/sh", "-c"], "args": ["run -x\n"]},
            ["/bin/sh", "-c"],
            ["run -x --master-port 29600"],
            id="script-in-args",
        ),
        pytest.param(
            {"command": ["bash", "-c", "run"]}, ["bash", "-c", "run --master-port 29600"], None, id="script-in-command"
        ),
    ],
)
def test_a_standby_gets_a_master_port_of_its_own(
    main: dict[str, list[str]], command: list[str], args: list[str] | None
) -> None:
    first, second = _engines(**main)
    assert (first.get("command"), first.get("args")) == (main["command"], main.get("args"))
    assert (second["command"], second.get("args")) == (command, args)


@pytest.mark.parametrize(
    ("main", "line"),
    [
        pytest.param(
            {"command": ["run"], "args": ["--master-port", "3000", "-x"]},
            ["run", "--master-port", "3100", "-x"],
            id="two-words",
        ),
        pytest.param({"command": ["run", "--master-port=3000"]}, ["run", "--master-port=3100"], id="one-word"),
        pytest.param(
            {"command": ["sh", "-c"], "args": ["run --master-port 3000 | tee log"]},
            ["sh", "-c", "run --master-port 3100 | tee log"],
            id="in-a-script",
        ),
    ],
)
def test_a_standby_moves_the_master_port_that_the_command_gives(main: dict[str, list[str]], line: list[str]) -> None:
    first, second = _engines(**main)
    assert [*first["command"], *first.get("args", [])] == [*main["command"], *main.get("args", [])]
    assert [*second["command"], *second.get("args", [])] == line


def test_engines_of_several_nodes_know_how_many_there_are() -> None:
    command = {"command": ["python3", "-m", "dynamo.vllm"], "args": ["--tensor-parallel-size", "4"]}
    part = a_component(main={**GPUS, **command}, multinode={}, experimental=SHARED)
    (group,) = rendered(a_graph(part), "LeaderWorkerSet", has_leader_worker_sets=True)
    for role in ("leader", "worker"):
        first, second = group["spec"]["leaderWorkerTemplate"][f"{role}Template"]["spec"]["containers"]
        assert [env_of(engine)["NNODES"] for engine in (first, second)] == ["2", "2"]
        ports = [engine["args"][engine["args"].index("--master-port") + 1] for engine in (first, second)]
        assert ports == ["29500", "29600"]
        assert second["args"].count("--master-port") == 1
    assert "NNODES" not in env_of(_engines()[0])


def test_engines_differ_in_every_port_and_share_the_gpus() -> None:
    engines = _engines()
    for name in ("DYN_SYSTEM_PORT", "DYN_FORWARDPASS_METRIC_PORT", "VLLM_NIXL_SIDE_CHANNEL_PORT", "ENGINE_ID"):
        assert len({env_of(engine)[name] for engine in engines}) == 2
    assert len({engine["ports"][0]["containerPort"] for engine in engines}) == 2
    assert all(engine["resources"] == {"claims": [{"name": "intrapod-shared-gpu"}]} for engine in engines)


def test_a_probe_of_the_users_keeps_its_port() -> None:
    probe = {"httpGet": {"path": "/x", "port": 1234}}
    assert all(engine["livenessProbe"] == probe for engine in _engines(livenessProbe=probe))


def test_a_probe_of_the_users_finds_the_engines_port_where_its_own_name_is_gone() -> None:
    """Engines of one pod have no other port than their system port, so no other name can be found."""
    health = {"containerPort": 9191, "name": "health"}
    engines = _engines(ports=[health], readinessProbe={"httpGet": {"path": "/x", "port": "health"}})
    assert [engine["readinessProbe"]["httpGet"]["port"] for engine in engines] == ["system-0", "system-1"]


def test_engines_of_a_node_that_serves_nothing_have_no_probes() -> None:
    part = a_component(main={**GPUS, "command": ["run"]}, multinode={}, experimental=SHARED)
    (group,) = rendered(a_graph(part, backendFramework="sglang"), "LeaderWorkerSet", has_leader_worker_sets=True)
    templates = group["spec"]["leaderWorkerTemplate"]
    probed = {
        role: ["livenessProbe" in each for each in templates[f"{role}Template"]["spec"]["containers"]]
        for role in ("leader", "worker")
    }
    assert probed == {"leader": [True, True], "worker": [False, False]}


def test_engines_without_vllm_get_none_of_its_settings() -> None:
    graph = a_graph(a_component(main={**GPUS, "command": ["run"]}, experimental=SHARED))
    _, second = pod_spec(graph)["containers"]
    assert not [name for name in env_of(second) if "VLLM" in name]
    assert "args" not in second


def test_listed_clients_reach_the_memory_server_and_others_do_not() -> None:
    service = {"gpuMemoryService": {"extraClientContainers": ["helper"]}}
    pod = {"containers": [{"name": "main", "image": "e:1.5.0", **GPUS}, {"name": "helper"}, {"name": "other"}]}
    graph = a_graph(a_component(pod=pod, experimental=service))
    _, helper, other = pod_spec(graph)["containers"]
    assert env_of(helper) == {"GMS_SOCKET_DIR": "/gms-intrapod-control"}
    assert other.keys() == {"name", "securityContext"}


def test_the_claim_counts_the_containers_gpus() -> None:
    graph = a_graph(a_component(main=GPUS, experimental=SHARED))
    (template,) = rendered(graph, "ResourceClaimTemplate")
    assert template["spec"]["spec"]["devices"]["requests"][0]["exactly"]["count"] == 2
