"""SGLang and TensorRT-LLM on several nodes, engines of nobody known, and what every node is told of its place."""

from __future__ import annotations

import itertools
import re
import shlex
import subprocess

import pytest

from dynamo_operator.render import RenderError
from tests.unit.operator_plane.render.factories import Document
from tests.unit.operator_plane.render.multinode import LEADER, WORKER, line_of, main_of, several_nodes, template

RENDEZVOUS = "--dist-init-addr $(LWS_LEADER_ADDRESS):29500 --nnodes 4 --node-rank"
PLACE = ("DYNAMO_RANK", "DYNAMO_LEADER_ADDRESS")


@pytest.mark.parametrize(
    ("role", "rank"), [pytest.param(LEADER, "0", id="leader"), pytest.param(WORKER, "$(LWS_WORKER_INDEX)", id="worker")]
)
def test_every_sglang_node_gets_its_rank(role: str, rank: str) -> None:
    line = line_of(several_nodes("sglang", "--tp-size", "32", nodes=4, gpus=None), role)
    assert line == ["python3", "-m", "dynamo.sglang", "--tp-size", "32", *f"{RENDEZVOUS} {rank}".split()]


def test_only_workers_of_sglang_lose_their_probes() -> None:
    component = several_nodes("sglang")
    assert [key for key in main_of(component, LEADER) if key.endswith("Probe")]
    assert not [key for key in main_of(component, WORKER) if key.endswith("Probe")]


def test_the_mpi_leader_starts_one_rank_per_gpu_on_all_nodes() -> None:
    component = several_nodes("trtllm", "--model", "a b", nodes=3, main={"env": [{"name": "MINE", "value": "1"}]})
    words = shlex.split(line_of(component, LEADER)[-1].splitlines()[-1])
    worker = "${LWS_LEADER_ADDRESS%%.*}-{}.${LWS_LEADER_ADDRESS#*.}"
    hosts = ",".join(["$(LWS_LEADER_ADDRESS)", *(worker.replace("{}", str(index)) for index in (1, 2))])
    assert words[: words.index("--mca")] == ["exec", "mpirun", "$root", "--oversubscribe", "-n", "24", "-H", hosts]
    forwarded = [name for flag, name in itertools.pairwise(words) if flag == "-x"]
    assert forwarded == sorted(set(forwarded))
    assert {"MINE", "POD_NAME", "DYN_NAMESPACE", "HF_TOKEN", "OMPI_MCA_orte_keep_fqdn_hostnames"} <= set(forwarded)
    assert words[-3:] == ["bash", "-c", 'trtllm-llmapi-launch python3 -m dynamo.trtllm --model "a b"']


@pytest.mark.parametrize(
    ("script", "launched"),
    [
        pytest.param(
            "export A=1; exec python3 -m dynamo.trtllm --x && echo 'it''s done'",
            "export A=1; exec trtllm-llmapi-launch python3 -m dynamo.trtllm --x && echo 'it''s done'",
            id="before-the-engine",
        ),
        pytest.param("./start.sh --x", 'trtllm-llmapi-launch bash -c "./start.sh --x"', id="before-the-whole"),
    ],
)
def test_the_launcher_goes_where_the_engine_starts(script: str, launched: str) -> None:
    component = several_nodes("trtllm", main={"command": ["bash", "-c"], "args": [script]})
    line = line_of(component, LEADER, backendFramework="trtllm")[-1]
    assert shlex.split(line.splitlines()[-1])[-1] == launched


def test_mpi_nodes_share_a_key_pair_and_workers_are_ready_when_they_can_be_logged_in_to() -> None:
    component = several_nodes("trtllm")
    for role in (LEADER, WORKER):
        pod = template(component, role, context={"mpi_secret_name": "keys"})["spec"]
        assert [each["name"] for each in pod["containers"][0]["volumeMounts"]] == ["keys", "shared-memory"]
        assert pod["volumes"][0] == {"name": "keys", "secret": {"secretName": "keys", "defaultMode": 0o644}}
    worker = main_of(component, WORKER)
    assert worker["readinessProbe"]["tcpSocket"] == {"port": 2222}
    assert not {"livenessProbe", "startupProbe"} & worker.keys()
    assert line_of(component, WORKER)[-1].endswith('exec /usr/sbin/sshd -D -f "$keys/sshd_config"\n')


def test_the_mpi_leader_waits_for_each_worker() -> None:
    script = line_of(several_nodes("trtllm", nodes=3), LEADER)[-1]
    assert 'for host in "${LWS_LEADER_ADDRESS%%.*}-1.' in script
    assert script.index("for host in") < script.index("exec mpirun")


@pytest.mark.parametrize("role", [LEADER, WORKER])
@pytest.mark.parametrize("engine", ["trtllm", "vllm"])
def test_generated_scripts_are_valid_for_a_plain_shell(engine: str, role: str) -> None:
    args = () if engine == "trtllm" else ("--enable-elastic-ep",)
    script = line_of(several_nodes(engine, *args), role)[-1]
    checked = subprocess.run(["sh", "-n", "-c", script], capture_output=True, text=True, check=False, timeout=30)
    assert (checked.returncode, checked.stderr) == (0, "")


def test_names_of_workers_are_made_of_the_leaders() -> None:
    script = line_of(several_nodes("trtllm", nodes=3), LEADER)[-1]
    hosts = re.findall(r'"(\$\{LWS_LEADER_ADDRESS%%[^"]*)"', script)
    expanded = subprocess.run(
        ["sh", "-c", f"printf '%s ' {' '.join(hosts)}"],
        env={"LWS_LEADER_ADDRESS": "set-0.set.space"},
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    assert expanded.stdout.split() == ["set-0-1.set.space", "set-0-2.set.space"]


def test_an_mpi_group_without_gpus_is_refused() -> None:
    with pytest.raises(RenderError, match="Worker: spans several nodes and asks for no whole number of GPUs"):
        main_of(several_nodes("trtllm", gpus=None), LEADER)


@pytest.mark.parametrize("role", [LEADER, WORKER])
def test_an_engine_of_nobody_known_runs_as_written_on_every_node(role: str) -> None:
    component = several_nodes(None, "--x", gpus=None)
    assert line_of(component, role) == ["serve", "--x"]
    assert [key for key in main_of(component, role) if key.endswith("Probe")]


@pytest.mark.parametrize(
    ("version", "spec"),
    [
        pytest.param("1.6.0", {}, id="runtime"),
        pytest.param(
            "1.5.0", {"annotations_": {"nvidia.com/dynamo-operator-origin-version": "1.6.0-rc1"}}, id="origin"
        ),
    ],
)
def test_newer_graphs_are_told_their_place_first(version: str, spec: Document) -> None:
    own = [{"name": "AAA", "value": "$(DYNAMO_RANK)"}, {"name": "DYNAMO_RANK", "value": "7"}]
    component = several_nodes(None, main={"image": f"engine:{version}", "env": own})
    for role in (LEADER, WORKER):
        env = main_of(component, role, **spec)["env"]
        assert env[:2] == [
            {"name": "DYNAMO_RANK", "value": "$(LWS_WORKER_INDEX)"},
            {"name": "DYNAMO_LEADER_ADDRESS", "value": "$(LWS_LEADER_ADDRESS)"},
        ]
        assert [each["name"] for each in env].count("DYNAMO_RANK") == 1


def test_older_graphs_are_not_told_their_place() -> None:
    env = main_of(several_nodes("sglang"), LEADER)["env"]
    assert not [each for each in env if each["name"] in PLACE]


@pytest.mark.parametrize("engine", ["vllm", "sglang", "trtllm"])
def test_only_workers_are_spread_by_their_engine(engine: str) -> None:
    """What else runs on several nodes runs as written, whatever engine the graph states."""
    component = several_nodes(engine, "--tensor-parallel-size", "16", type_=None)
    pods = [template(component, role, backendFramework=engine)["spec"] for role in (LEADER, WORKER)]
    for pod in pods:
        (main,) = pod["containers"]
        assert (main["command"], main["args"]) == (
            ["python3", "-m", f"dynamo.{engine}"],
            ["--tensor-parallel-size", "16"],
        )
        assert "initContainers" not in pod
        assert [volume["name"] for volume in pod["volumes"]] == ["shared-memory"]
