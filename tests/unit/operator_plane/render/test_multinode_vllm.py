"""vLLM on several nodes: how its sizes decide what leader and workers run."""

from __future__ import annotations

import re

import pytest

from dynamo_operator.render import RenderError
from tests.unit.operator_plane.render.factories import Document, env_of
from tests.unit.operator_plane.render.multinode import (
    LEADER,
    WORKER,
    annotated,
    line_of,
    main_of,
    several_nodes,
    template,
)

TP16 = ("--tensor-parallel-size", "16")
RAY = annotated(vllm_distributed_executor_backend="ray")
JOIN = "--distributed-executor-backend mp --nnodes 2 --master-addr $(LWS_LEADER_ADDRESS) --master-port 29500"
HYBRID = "--data-parallel-hybrid-lb --data-parallel-size-local"
ADDRESS = "--data-parallel-address $(LWS_LEADER_ADDRESS) --data-parallel-rpc-port 13445"


@pytest.mark.parametrize(
    ("args", "leader", "worker"),
    [
        pytest.param(
            TP16,
            [*f"{JOIN} --node-rank 0".split()],
            [*f"{JOIN} --node-rank $(LWS_WORKER_INDEX) --headless".split()],
            id="tensor-parallel",
        ),
        pytest.param(
            ("-tp=8", "-pp", "2"),
            [*f"{JOIN} --node-rank 0".split()],
            [*f"{JOIN} --node-rank $(LWS_WORKER_INDEX) --headless".split()],
            id="product-of-short-flags",
        ),
        pytest.param(("--tensor-parallel-size", "8"), [], [], id="fits-one-node"),
        pytest.param(("-tp", "4", "--tensor-parallel-size=16", "-tp", "8"), [], [], id="last-name-counts"),
        pytest.param((), [], [], id="no-sizes"),
        pytest.param(("--data-parallel-size", "8"), [], [], id="ranks-fit-one-node"),
    ],
)
def test_an_engine_larger_than_a_pod_is_spread(args: tuple[str, ...], leader: list[str], worker: list[str]) -> None:
    component = several_nodes("vllm", *args)
    command = ["python3", "-m", "dynamo.vllm", *args]
    assert line_of(component, LEADER) == [*command, *leader]
    assert line_of(component, WORKER) == [*command, *worker]


@pytest.mark.parametrize(
    ("args", "local"),
    [
        pytest.param(("--data-parallel-size", "16"), 8, id="one-gpu-per-rank"),
        pytest.param(("-dp", "4", "--tensor_parallel_size=4"), 2, id="four-gpus-per-rank"),
    ],
)
def test_ranks_of_a_data_parallel_group_are_shared_out(args: tuple[str, ...], local: int) -> None:
    component = several_nodes("vllm", *args)
    own = ["python3", "-m", "dynamo.vllm", *args]
    leader = f"{HYBRID} {local} --data-parallel-start-rank 0 {ADDRESS}"
    assert line_of(component, LEADER) == [*own, *leader.split()]
    worker = f"{HYBRID} {local} --data-parallel-start-rank $(( {local} * LWS_WORKER_INDEX )) {ADDRESS}"
    assert line_of(component, WORKER) == ["sh", "-c", f"exec {' '.join(own)} {worker}"]


def test_what_a_user_gives_is_not_given_again() -> None:
    args = (*TP16, "--master-port", "4000", "--nnodes=2", "--headless")
    worker = line_of(several_nodes("vllm", *args), WORKER)
    added = "--distributed-executor-backend mp --master-addr $(LWS_LEADER_ADDRESS) --node-rank $(LWS_WORKER_INDEX)"
    assert " ".join(worker[len(args) + 3 :]) == added


def test_workers_wait_for_the_port_that_the_leader_opens() -> None:
    for args, port in ((TP16, 29500), ((*TP16, "--master-port", "4000"), 4000)):
        pod = template(several_nodes("vllm", *args), WORKER)["spec"]
        (waiting,) = pod["initContainers"]
        assert waiting["image"] == pod["containers"][0]["image"]
        assert f'LEADER_HOST="${{LWS_LEADER_ADDRESS}}" LEADER_PORT="{port}"' in waiting["command"][-1]
        assert pod["volumes"][-1] == {"name": "wait-leader-script", "configMap": {"name": "g-wait-leader-script"}}


@pytest.mark.parametrize(
    ("component", "role"),
    [
        pytest.param(several_nodes("vllm", *TP16), LEADER, id="leader"),
        pytest.param(several_nodes("vllm", "--data-parallel-size", "16"), WORKER, id="data-parallel"),
        pytest.param(several_nodes("sglang"), WORKER, id="sglang"),
    ],
)
def test_nobody_else_waits(component: Document, role: str) -> None:
    assert "initContainers" not in template(component, role)["spec"]


def test_a_users_init_containers_come_before_the_waiting_one() -> None:
    component = several_nodes("vllm", *TP16, pod={"initContainers": [{"name": "own", "image": "i:1"}]})
    names = [each["name"] for each in template(component, WORKER)["spec"]["initContainers"]]
    assert names == ["own", "wait-for-leader-mp"]


def test_workers_have_no_probes_and_the_leader_keeps_its_own() -> None:
    probe = {"httpGet": {"path": "/x", "port": 1}}
    component = several_nodes("vllm", *TP16, main={"livenessProbe": probe})
    assert not [key for key in main_of(component, WORKER) if key.endswith("Probe")]
    leader = main_of(component, LEADER)
    assert leader["livenessProbe"] == probe
    assert {"readinessProbe", "startupProbe"} <= leader.keys()


@pytest.mark.parametrize(
    ("metadata", "is_ray"),
    [
        pytest.param({}, False, id="new"),
        pytest.param(annotated(dynamo_operator_origin_version="1.0.0"), False, id="since-multiprocessing"),
        pytest.param(RAY, True, id="chosen"),
        pytest.param(annotated(vllm_distributed_executor_backend="Ray"), True, id="in-any-case"),
    ],
)
def test_the_executor_is_multiprocessing_unless_ray_is_chosen(metadata: Document, is_ray: bool) -> None:
    component = several_nodes("vllm", *TP16, template=metadata)
    assert ("ray start" in line_of(component, WORKER)[-1]) is is_ray
    has_host = "VLLM_NIXL_SIDE_CHANNEL_HOST" in env_of(main_of(component, LEADER))
    assert has_host is not is_ray


def test_a_graph_older_than_multiprocessing_stays_with_ray() -> None:
    origin = {"nvidia.com/dynamo-operator-origin-version": "0.9.1"}
    assert "ray start" in line_of(several_nodes("vllm", *TP16), WORKER, annotations_=origin)[-1]
    chosen = several_nodes("vllm", *TP16, template=annotated(vllm_distributed_executor_backend="mp"))
    assert "--headless" in line_of(chosen, WORKER, annotations_=origin)


def test_ray_keeps_the_words_of_the_command() -> None:
    component = several_nodes("vllm", *TP16, "--kv-transfer-config", '{"a": "b c"}', template=RAY)
    assert line_of(component, LEADER) == [
        "/bin/sh",
        "-c",
        "ray start --head --port=6379 && exec python3 -m dynamo.vllm --tensor-parallel-size 16 "
        '--kv-transfer-config "{\\"a\\": \\"b c\\"}" --distributed-executor-backend ray',
    ]
    worker = template(component, WORKER)["spec"]
    assert worker["containers"][0]["args"] == ["exec ray start --address=$(LWS_LEADER_ADDRESS):6379 --block"]
    assert worker["initContainers"][0]["name"] == "wait-for-leader-ray"
    assert 'LEADER_PORT="6379"' in worker["initContainers"][0]["command"][-1]


def test_ray_keeps_the_meaning_of_a_script() -> None:
    script = "export A='1 2'; cd /w && python3 -m dynamo.vllm --tensor-parallel-size 16 | tee log"
    component = several_nodes("vllm", main={"command": ["/bin/sh", "-c"], "args": [script]}, template=RAY)
    changed = script.replace("dynamo.vllm", "dynamo.vllm --distributed-executor-backend ray").replace("'", "'\"'\"'")
    assert line_of(component, LEADER)[-1] == f"ray start --head --port=6379 && exec /bin/sh -c '{changed}'"


def test_elastic_workers_join_a_leader_that_is_live() -> None:
    component = several_nodes("vllm", "--enable-elastic-ep", "--data-parallel-size", "16")
    leader, worker = line_of(component, LEADER)[-1], line_of(component, WORKER)[-1]
    assert leader.startswith("ray start --head --port=6379 --block &\n")
    assert leader.endswith("exec python3 -m dynamo.vllm --enable-elastic-ep --data-parallel-size 16")
    assert "http://$(LWS_LEADER_ADDRESS):9090/live" in worker
    assert "-ge 720" in worker
    assert "sleep 15" in worker
    assert worker.endswith("exec ray start --address=$(LWS_LEADER_ADDRESS):6379 --block")


@pytest.mark.parametrize(
    ("args", "env", "size"),
    [
        pytest.param(("--tensor-parallel-size", "$(TP)"), [{"name": "TP", "value": "16"}], True, id="kubelet"),
        pytest.param(("--tensor-parallel-size", "${TP}"), [{"name": "TP", "value": "4"}], False, id="shell"),
    ],
)
def test_a_size_may_be_a_variable_of_the_container(args: tuple[str, ...], env: list[Document], size: bool) -> None:
    line = line_of(several_nodes("vllm", *args, main={"env": env}), LEADER)
    assert ("--nnodes" in line) is size


@pytest.mark.parametrize(
    ("component", "found"),
    [
        pytest.param(
            several_nodes("vllm", "--tensor-parallel-size", "$TP"),
            "Worker: --tensor-parallel-size is '$TP'; a component of several nodes needs it as a whole number",
            id="unknown-variable",
        ),
        pytest.param(several_nodes("vllm", "-tp", "0"), "Worker: -tp is '0'", id="zero"),
        pytest.param(several_nodes("vllm", *TP16, gpus=None), "Worker: spans several nodes and asks for no", id="none"),
        pytest.param(several_nodes("vllm", *TP16, gpus="a few"), "Worker: spans several nodes", id="no-number"),
    ],
)
def test_sizes_that_cannot_be_read_are_refused(component: Document, found: str) -> None:
    with pytest.raises(RenderError, match=re.escape(found)):
        main_of(component, LEADER)


@pytest.mark.parametrize("gpus", ["8.0", "8000m", "0.8e1"])
def test_gpus_count_however_their_number_is_written(gpus: str) -> None:
    written = line_of(several_nodes("vllm", *TP16, gpus=gpus), LEADER)
    assert written == line_of(several_nodes("vllm", *TP16), LEADER)
    data = line_of(several_nodes("vllm", "-dp", "16", gpus=gpus), LEADER)
    assert data[data.index("--data-parallel-size-local") + 1] == "8"


@pytest.mark.parametrize("resource", ["nvidia.com/mig-1g.10gb", "amd.com/gpu", "gpu.intel.com/xe"])
def test_gpus_of_other_kinds_count(resource: str) -> None:
    amounts = {"requests": {"cpu": "64", "rdma/ib": "64", resource: "4"}}
    component = several_nodes("vllm", "--tensor-parallel-size", "8", main={"resources": amounts})
    assert "--nnodes" in line_of(component, LEADER)


def test_a_host_for_transfers_that_the_user_sets_stays() -> None:
    env = [{"name": "VLLM_NIXL_SIDE_CHANNEL_HOST", "value": "mine"}]
    main = main_of(several_nodes("vllm", *TP16, main={"env": env}), LEADER)
    assert [each for each in main["env"] if each["name"] == "VLLM_NIXL_SIDE_CHANNEL_HOST"] == env
