from __future__ import annotations

import copy
import itertools
from collections.abc import Callable
from typing import Any

import pytest

from dynamo_operator.local.errors import Refused
from dynamo_operator.local.plan import PlanSettings, plan
from dynamo_operator.local.specs import Plan, Probe, ProcessSpec
from tests.unit.operator_plane.local.pods import a_deployment

FRONTEND = a_deployment("Frontend", "frontend")


def free_from(first: int) -> Callable[[int | None], int]:
    """Wanted ports are always free here; other ports are counted up."""
    numbers = itertools.count(first)
    taken: set[int] = set()

    def take(wanted: int | None) -> int:
        port = next(numbers) if wanted is None else wanted
        while port in taken:
            port += 1
        taken.add(port)
        return port

    return take


def planned(*objects: dict[str, Any], **changes: Any) -> Plan:
    settings: dict[str, Any] = {
        "namespace": "shop",
        "discovery_folder": "/state/discovery",
        "python": "/venv/bin/python",
        "host": "127.0.0.1",
        "take_port": free_from(20_000),
        "is_available": lambda module: module in {"dynamo.frontend", "dynamo.mocker"},
        "exists": lambda path: path.startswith("/here"),
        **changes,
    }
    return plan("graph", objects, PlanSettings(**settings))


def only(plan: Plan) -> ProcessSpec:
    (process,) = plan.processes
    return process


def notes(plan: Plan) -> list[str]:
    return [str(note) for note in plan.notes]


def test_replicas_become_processes_with_ports_and_names_of_their_own() -> None:
    made = planned(FRONTEND, a_deployment(replicas=2))

    assert [process.name for process in made.processes] == ["frontend-0", "worker-0", "worker-1"]
    assert [process.env["POD_NAME"] for process in planned(a_deployment(env=[POD_NAME], replicas=2)).processes] == [
        "graph-worker-0",
        "graph-worker-1",
    ]
    ports = [process.system_port for process in made.processes[1:]]
    assert len(set(ports)) == 2
    assert [process.env["DYN_SYSTEM_PORT"] for process in made.processes[1:]] == [str(port) for port in ports]
    assert made.url == "http://127.0.0.1:8000"
    assert made.serves_models


POD_NAME = {"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}


def test_the_rendered_objects_are_not_changed() -> None:
    objects = [copy.deepcopy(FRONTEND), a_deployment(replicas=2)]
    before = copy.deepcopy(objects)

    assert planned(*objects) == planned(*objects)
    assert objects == before


def test_a_port_on_the_command_line_goes_to_the_first_frontend_only() -> None:
    second = a_deployment("Second", "frontend")

    made = planned(FRONTEND, second, frontend_port=9000)

    assert [process.http_port for process in made.processes] == [9000, 8000]
    assert made.url == "http://127.0.0.1:9000"


def test_a_frontend_that_evades_a_taken_port_says_so() -> None:
    made = planned(FRONTEND, take_port=lambda wanted: 20_000 if wanted is None else wanted + 1)

    assert made.url == "http://127.0.0.1:8001"
    assert notes(made) == ["Frontend: port 8000 is taken, so the frontend listens on 8001; --port chooses another"]


def test_further_frontends_get_the_next_free_port() -> None:
    made = planned(a_deployment("Frontend", "frontend", replicas=3))

    assert [process.http_port for process in made.processes] == [8000, 8001, 8002]


@pytest.mark.parametrize(
    ("host", "listens", "url"),
    [
        pytest.param("127.0.0.1", "127.0.0.1", "http://127.0.0.1:8000", id="loopback"),
        pytest.param("0.0.0.0", "0.0.0.0", "http://127.0.0.1:8000", id="every-address"),
        pytest.param("::", "::", "http://[::1]:8000", id="every-address-of-both-families"),
        pytest.param("192.0.2.7", "192.0.2.7", "http://192.0.2.7:8000", id="one-address"),
    ],
)
def test_the_frontend_listens_where_it_is_told(host: str, listens: str, url: str) -> None:
    made = planned(FRONTEND, host=host)

    assert only(made).env["DYN_HTTP_HOST"] == listens
    assert made.url == url


def test_workers_stay_on_loopback_and_use_the_folder_for_discovery() -> None:
    env = only(planned(a_deployment(), host="0.0.0.0")).env

    assert env["DYN_SYSTEM_HOST"] == "127.0.0.1"
    assert env["DYN_TCP_RPC_HOST"] == "127.0.0.1"
    assert env["DYN_DISCOVERY_BACKEND"] == "file"
    assert env["DYN_FILE_KV"] == "/state/discovery"
    assert env["DYN_GRACEFUL_SHUTDOWN_GRACE_PERIOD_SECS"] == "0"


def test_a_grace_period_of_the_manifest_is_kept() -> None:
    chosen = {"name": "DYN_GRACEFUL_SHUTDOWN_GRACE_PERIOD_SECS", "value": "7"}

    assert only(planned(a_deployment(env=[chosen]))).env["DYN_GRACEFUL_SHUTDOWN_GRACE_PERIOD_SECS"] == "7"


def test_discovery_of_the_cluster_is_replaced() -> None:
    rendered = {"name": "DYN_DISCOVERY_BACKEND", "value": "kubernetes"}

    assert only(planned(a_deployment(env=[rendered]))).env["DYN_DISCOVERY_BACKEND"] == "file"


@pytest.mark.parametrize(
    ("container", "argv"),
    [
        pytest.param({"command": ["python3", "-m", "dynamo.mocker"]}, ["PY", "-m", "dynamo.mocker"], id="python3"),
        pytest.param({"command": ["/usr/bin/python3.12", "a.py"]}, ["PY", "a.py"], id="python-of-the-image"),
        pytest.param({"command": ["./run"], "args": ["x"]}, ["./run", "x"], id="other-program"),
        pytest.param(
            {"command": ["/bin/sh", "-c"], "args": ["python3 -m dynamo.mocker"]},
            ["/bin/sh", "-c", "python3 -m dynamo.mocker"],
            id="a-shell-script-is-kept",
        ),
        pytest.param(
            {"command": ["serve"], "args": ["--at", "$(DYN_SYSTEM_PORT)", "$$(X)", "$(X)"]},
            ["serve", "--at", "20000", "$(X)", "$(X)"],
            id="references-see-the-new-port",
        ),
        pytest.param(
            {"command": ["serve", "--system-port", "9090", "--report=9090", "9090"]},
            ["serve", "--system-port", "20000", "--report=9090", "9090"],
            id="only-port-flags-are-moved",
        ),
        pytest.param({"command": ["serve", "--port=9090"]}, ["serve", "--port=20000"], id="flag-with-equals-sign"),
    ],
)
def test_the_command_is_the_containers_own(container: dict[str, Any], argv: list[str]) -> None:
    made = only(planned(a_deployment(**container)))

    assert list(made.argv) == ["/venv/bin/python" if word == "PY" else word for word in argv]


def test_a_frontends_port_flag_is_moved_with_its_variables() -> None:
    command = ["python3", "-m", "dynamo.frontend", "--http-port", "8123"]

    made = only(planned(a_deployment("Frontend", "frontend", command=command), frontend_port=9000))

    assert made.argv[-1] == "9000"
    assert made.env["DYN_HTTP_PORT"] == "9000"
    assert made.http_port == 9000


def test_a_frontend_keeps_the_port_its_manifest_chose() -> None:
    command = ["python3", "-m", "dynamo.frontend", "--http-port", "8123"]

    assert planned(a_deployment("Frontend", "frontend", command=command)).url == "http://127.0.0.1:8123"


@pytest.mark.parametrize(
    ("path", "value"),
    [
        pytest.param("metadata.name", "graph-worker-0", id="name"),
        pytest.param("metadata.namespace", "shop", id="namespace"),
        pytest.param("metadata.labels['nvidia.com/dynamo-component']", "worker", id="label"),
        pytest.param("metadata.annotations['note']", "hello", id="annotation"),
        pytest.param("spec.serviceAccountName", "finder", id="service-account"),
        pytest.param("status.podIP", "127.0.0.1", id="address"),
    ],
)
def test_the_downward_api_is_answered(path: str, value: str) -> None:
    env = [{"name": "X", "valueFrom": {"fieldRef": {"fieldPath": path}}}]

    assert only(planned(a_deployment(env=env))).env["X"] == value


def test_pod_uids_differ_between_replicas_and_not_between_runs() -> None:
    env = [{"name": "POD_UID", "valueFrom": {"fieldRef": {"fieldPath": "metadata.uid"}}}]

    first, second = ([p.env["POD_UID"] for p in planned(a_deployment(env=env, replicas=2)).processes] for _ in "ab")

    assert first == second
    assert first[0] != first[1]


def test_environment_values_expand_with_earlier_ones() -> None:
    env = [
        {"name": "LATE", "value": "$(BASE)/x"},
        {"name": "BASE", "value": "/data"},
        {"name": "SOON", "value": "$(BASE)/y"},
    ]

    made = only(planned(a_deployment(env=env))).env

    assert (made["LATE"], made["SOON"]) == ("$(BASE)/x", "/data/y")


def test_the_readiness_probe_follows_the_moved_port() -> None:
    assert only(planned(a_deployment())).readiness == Probe(port=20_000, path="/health", timeout_s=4)


def test_a_tcp_probe_has_no_path() -> None:
    probe = {"tcpSocket": {"port": 9090}}

    assert only(planned(a_deployment(readinessProbe=probe))).readiness == Probe(port=20_000, path=None, timeout_s=1)


def test_a_container_without_a_probe_is_ready_when_it_runs() -> None:
    assert only(planned(a_deployment(readinessProbe=None))).readiness is None


@pytest.mark.parametrize(
    ("changes", "note"),
    [
        pytest.param({"resources": {"limits": {"nvidia.com/gpu": "1"}}}, "GPUs are not reserved", id="gpu"),
        pytest.param({"resources": {"requests": {"cpu": "1"}}}, "limits are not enforced", id="cpu"),
        pytest.param({"workingDir": "/workspace"}, "workingDir is ignored", id="working-dir"),
        pytest.param({"envFrom": [{"secretRef": {"name": "hf"}}]}, "secret 'hf'", id="secret-environment"),
        pytest.param({"envFrom": [{"configMapRef": {"name": "cm"}}]}, "config map 'cm'", id="config-map-environment"),
        pytest.param(
            {"env": [{"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "hf", "key": "t"}}}]},
            "TOKEN is not set: it comes from the secret 'hf'",
            id="secret-variable",
        ),
        pytest.param({"pod": {"volumes": [{"name": "models", "persistentVolumeClaim": {}}]}}, "models", id="volume"),
        pytest.param({"pod": {"initContainers": [{"name": "fetch"}]}}, "init containers do not run: fetch", id="init"),
        pytest.param({"pod": {"containers": [{"name": "envoy"}]}}, "left out: envoy", id="sidecar"),
    ],
)
def test_what_has_no_effect_here_is_said_once(changes: dict[str, Any], note: str) -> None:
    said = notes(planned(a_deployment(replicas=3, **changes)))

    assert len(said) == 1
    assert said[0].startswith("worker: ")
    assert note in said[0]


def test_a_note_about_several_components_is_one_note() -> None:
    gpu = {"resources": {"limits": {"nvidia.com/gpu": "1"}}}

    (said,) = notes(planned(a_deployment("a", **gpu), a_deployment("b", **gpu)))

    assert said.startswith("a, b: ")


def test_shared_memory_is_no_news() -> None:
    assert notes(planned(a_deployment(pod={"volumes": [{"name": "shared-memory", "emptyDir": {}}]}))) == []


@pytest.mark.parametrize(
    "command",
    [
        pytest.param(["python3", "-m", "dynamo.vllm", "--model", "x"], id="directly"),
        pytest.param(["/bin/sh", "-c", "exec python3 -m dynamo.vllm --model x"], id="in-a-shell-script"),
    ],
)
def test_an_engine_that_is_not_installed_is_refused_by_name(command: list[str]) -> None:
    with pytest.raises(Refused, match=r"component 'decode' runs dynamo\.vllm, which is not installed") as refusal:
        planned(FRONTEND, a_deployment("decode", command=command))

    assert "mocker" in refusal.value.hint


def test_all_components_that_lack_an_engine_are_named() -> None:
    command = ["python3", "-m", "dynamo.sglang"]

    with pytest.raises(Refused, match=r"components 'Decode', 'Prefill' run dynamo\.sglang"):
        planned(FRONTEND, a_deployment("Decode", command=command), a_deployment("Prefill", command=command))


def test_a_misspelt_module_is_refused_with_the_nearest() -> None:
    with pytest.raises(Refused) as refusal:
        planned(a_deployment(command=["python3", "-m", "dynamo.moker"]))

    assert refusal.value.hint == "did you mean dynamo.mocker?"


@pytest.mark.parametrize(
    ("args", "kept", "said"),
    [
        pytest.param(["--planner-profile-data", "/image/x", "--port", "1"], ["--port", "1"], 1, id="in-the-image"),
        pytest.param(["--planner-profile-data=/image/x"], [], 1, id="in-one-word"),
        pytest.param(["--planner-profile-data", "/here/x"], ["--planner-profile-data", "/here/x"], 0, id="here"),
        pytest.param(["--planner-profile-data", "x.npz"], ["--planner-profile-data", "x.npz"], 0, id="relative"),
        pytest.param(["--planner-profile-data"], ["--planner-profile-data"], 0, id="the-mocker-will-complain"),
    ],
)
def test_the_mocker_does_without_timings_that_only_its_image_has(args: list[str], kept: list[str], said: int) -> None:
    made = planned(a_deployment(command=["python3", "-m", "dynamo.mocker"], args=args))

    assert list(only(made).argv[3:]) == kept
    assert [each for each in notes(made) if "--planner-profile-data is left out: /image/x" in each] == notes(made)
    assert len(notes(made)) == said


@pytest.mark.parametrize("container", [{"command": None}, {"command": ["/bin/sh", "-c"]}])
def test_a_component_without_a_command_is_refused(container: dict[str, Any]) -> None:
    with pytest.raises(Refused, match="component 'worker' has no command"):
        planned(a_deployment(**container))


def test_a_planner_that_is_not_installed_is_left_out() -> None:
    planner = a_deployment("Planner", "planner", command=["python3", "-m", "dynamo.planner"])

    made = planned(FRONTEND, planner)

    assert [process.name for process in made.processes] == ["frontend-0"]
    assert notes(made) == ["Planner: left out: dynamo.planner is not installed here"]


def test_a_graph_with_nothing_to_run_is_refused() -> None:
    with pytest.raises(Refused, match="nothing to run"):
        planned(a_deployment(replicas=0), {"kind": "Service"})


def test_a_graph_without_a_frontend_has_no_url() -> None:
    made = planned(a_deployment())

    assert made.url is None
    assert not made.serves_models


@pytest.mark.parametrize(
    ("others", "workers"),
    [
        pytest.param([a_deployment("w", "worker", replicas=2)], ["aggregated", "aggregated"], id="aggregated"),
        pytest.param(
            [a_deployment("p", "prefill"), a_deployment("w", "worker")], ["prefill", "decode"], id="disaggregated"
        ),
    ],
)
def test_a_planner_is_told_where_metrics_are_read(others: list[dict[str, Any]], workers: list[str]) -> None:
    planner = a_deployment("Planner", "planner", command=["python3", "-m", "dynamo.planner"])
    made = planned(FRONTEND, *others, planner, is_available=lambda _: True)
    told = next(each for each in made.processes if each.role == "planner").env
    systems = [each.system_port for each in made.processes if each.role in {"worker", "prefill"}]

    assert told["DYN_PLANNER_FRONTEND_URLS"] == made.url
    assert told["DYN_PLANNER_WORKER_URLS"].split(",") == [
        f"{role}=http://127.0.0.1:{port}" for role, port in zip(workers, systems, strict=True)
    ]
