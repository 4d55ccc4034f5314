"""Multinode components on the Grove pathway: their cliques, their groups, and how their pods find each other."""

from __future__ import annotations

from typing import Any

import pytest

from dynamo_operator.render import RenderError
from tests.unit.operator_plane.render.factories import a_component, a_graph, env_of, gang_template, rendered

Document = dict[str, Any]

LEADER = "$(GROVE_PCSG_NAME)-$(GROVE_PCSG_INDEX)-worker-ldr-0.$(GROVE_HEADLESS_SERVICE)"


def a_wide_component(engine: str = "sglang", nodes: int = 3, **fields: Any) -> Document:
    """A worker of several nodes with one GPU each."""
    main = {
        "command": ["python3", "-m", f"dynamo.{engine}"],
        "resources": {"limits": {"nvidia.com/gpu": "1"}},
        **fields.pop("main", {}),
    }
    return a_component(main=main, multinode={"nodeCount": nodes, **fields.pop("multinode", {})}, **fields)


def test_a_group_is_a_leader_and_workers_none_of_which_may_be_missing() -> None:
    template = gang_template(a_graph(a_wide_component(nodes=4, replicas=2, minAvailable=2)))
    assert [
        (each["name"], each["spec"]["roleName"], each["spec"]["replicas"], each["spec"]["minAvailable"])
        for each in template["cliques"]
    ] == [("worker-ldr", "worker-ldr", 1, 1), ("worker-wkr", "worker-wkr", 3, 3)]
    assert template["podCliqueScalingGroups"] == [
        {"name": "worker", "cliqueNames": ["worker-ldr", "worker-wkr"], "replicas": 2, "minAvailable": 2}
    ]


def test_workers_are_told_their_leader_and_their_rank_by_a_shell() -> None:
    leader, worker = (each["spec"]["podSpec"]["containers"][0] for each in _cliques(a_wide_component()))
    assert leader["args"][-2:] == ["--node-rank", "0"]
    assert f"{LEADER}:29500" in leader["args"]
    assert worker["command"] == ["sh", "-c"]
    assert worker["args"][0].endswith("--nnodes 3 --node-rank $((GROVE_PCLQ_POD_INDEX + 1))")
    assert f" {LEADER}:29500 " in worker["args"][0]


def test_only_the_leader_is_probed_where_only_it_serves() -> None:
    leader, worker = (each["spec"]["podSpec"]["containers"][0] for each in _cliques(a_wide_component()))
    assert "readinessProbe" in leader
    assert not {"livenessProbe", "readinessProbe", "startupProbe"} & worker.keys()


def test_newer_runtimes_are_told_their_place_in_words_of_no_orchestrator() -> None:
    for clique in _cliques(a_wide_component(main={"image": "engine:1.6.0"})):
        env = env_of(clique["spec"]["podSpec"]["containers"][0])
        assert env["DYNAMO_LEADER_ADDRESS"] == LEADER
        assert env["DYNAMO_RANK"] == "$(GROVE_PCSG_POD_INDEX)"


def test_a_leader_that_logs_in_to_its_workers_starts_after_them() -> None:
    template = gang_template(a_graph(a_wide_component("trtllm")))
    leader, worker = template["cliques"]
    assert template["cliqueStartupType"] == "CliqueStartupTypeExplicit"
    assert leader["spec"]["startsAfter"] == ["worker-wkr"]
    assert "startsAfter" not in worker["spec"]
    script = leader["spec"]["podSpec"]["containers"][0]["args"][0]
    group = "$(GROVE_PCSG_NAME)-$(GROVE_PCSG_INDEX)-worker"
    workers = [f"{group}-wkr-{index}.$(GROVE_HEADLESS_SERVICE)" for index in range(2)]
    assert f" -n 3 -H {','.join([LEADER, *workers])} " in script
    assert "until " not in script  # Grove has the workers ready by then.


@pytest.mark.parametrize("engine", ["vllm", "sglang"])
def test_other_engines_start_in_any_order(engine: str) -> None:
    template = gang_template(a_graph(a_wide_component(engine, main={"args": ["--tensor-parallel-size", "3"]})))
    assert template["cliqueStartupType"] == "CliqueStartupTypeAnyOrder"
    assert not any("startsAfter" in each["spec"] for each in template["cliques"])


def test_workers_of_vllm_wait_with_the_graphs_script() -> None:
    graph = a_graph(a_wide_component("vllm", main={"args": ["--tensor-parallel-size", "3"]}))
    _, worker = gang_template(graph)["cliques"]
    (waiting,) = worker["spec"]["podSpec"]["initContainers"]
    assert 'LEADER_HOST="${GROVE_PCSG_NAME}-${GROVE_PCSG_INDEX}-worker-ldr-0.${GROVE_HEADLESS_SERVICE}"' in str(waiting)
    (script,) = rendered(graph, "ConfigMap", has_grove=True)
    assert {"name": script["metadata"]["name"]} in [
        each.get("configMap") for each in worker["spec"]["podSpec"]["volumes"]
    ]


def test_the_group_carries_the_components_packing_and_its_cliques_only_their_roles() -> None:
    override = {"apiVersion": "grove.io/v1alpha1", "target": "PodCliqueTemplateSpec"}
    host = {"topologyConstraint": {"pack": {"required": "host"}}}
    component = a_wide_component(
        topologyConstraint={"packDomain": "rack"},
        multinode={"worker": {"providerOverride": {**override, "value": host}}},
    )
    template = gang_template(a_graph(component, topologyConstraint={"clusterTopologyName": "t", "packDomain": "zone"}))
    leader, worker = template["cliques"]
    assert "topologyConstraint" not in leader
    assert worker["topologyConstraint"] == {"pack": {"required": "host"}}
    assert template["podCliqueScalingGroups"][0]["topologyConstraint"] == {"pack": {"required": "rack"}}


def test_names_of_group_and_clique_leave_room_for_the_sets() -> None:
    name = "w" * 16  # 16 + 20 for its cliques leaves 9
    template = gang_template(a_graph(a_wide_component(name="w"), name="g" * 36))
    assert template["cliques"][0]["name"] == "w-ldr"
    (document,) = rendered(a_graph(a_wide_component(name=name), name="g" * 10), "PodCliqueSet", has_grove=True)
    assert document["metadata"]["name"] == "gggg-" + document["metadata"]["name"][-4:]
    with pytest.raises(RenderError, match=r"component w{18}: .* 48 characters together; allowed: 45"):
        gang_template(a_graph(a_wide_component(name="w" * 18), name="g" * 8))


def _cliques(component: Document) -> list[Document]:
    cliques: list[Document] = gang_template(a_graph(component))["cliques"]
    return cliques
