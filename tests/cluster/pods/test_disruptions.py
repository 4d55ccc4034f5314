"""What users notice of what is done to a graph under load: nothing, or only what cannot be helped.

One graph of two frontends and two workers serves 16 streams of 300 tokens, about 8 ms a token, through the frontend
Service. The run's summary shows a line for each disruption.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from tests.cluster.commands import wait_until
from tests.cluster.local.images.recipes import RUNTIME
from tests.cluster.pods.graphs import RUNTIME_NAME, Graph, name_of
from tests.cluster.pods.load import Ask, Load, Stream, running_load
from tests.cluster.pods.release import Release
from tests.cluster.port import Cluster

STREAMS = 16
NEXT_RUNTIME_NAME = "dynamo:0.1.1"
HEALTH_INTERVAL_S = 3.0  # The frontend's default.
HANG_S = 15.0
_WARM_STREAMS = STREAMS
_CALM_S = 2.0
_DEADLINE_S = 90.0
# Pods share one process namespace, so that a program run in a pod can signal the engine's process.
_SIGNAL = """
import os, pathlib, signal, time
mine = os.getpid()
for process in pathlib.Path("/proc").glob("[0-9]*"):
    if int(process.name) != mine and b"dynamo.mocker" in (process / "cmdline").read_bytes():
        os.kill(int(process.name), signal.{signal})
print(time.time())
"""


@dataclass
class Stage:
    """The graph under load, and where its lines of the summary go."""

    graph: Graph
    url: str
    document: dict[str, Any]

    def load(self) -> Any:
        return running_load(Ask(self.url), STREAMS)


def a_graph_document(name: str) -> dict[str, Any]:
    main = {
        "name": "main",
        "image": RUNTIME_NAME,
        "command": ["python3", "-m", "dynamo.mocker"],
        "args": ["--model-name", "mock-model", "--speedup-ratio", "0.75"],
    }
    frontend = {"containers": [{"name": "main", "image": RUNTIME_NAME}]}
    worker = {"containers": [main], "shareProcessNamespace": True}
    components = [
        {"name": "Frontend", "type": "frontend", "replicas": 2, "podTemplate": {"spec": frontend}},
        {
            "name": "worker",
            "type": "worker",
            "replicas": 2,
            "scalingAdapter": {},
            "podTemplate": {"spec": worker},
        },
    ]
    return {
        "apiVersion": "nvidia.com/v1beta1",
        "kind": "DynamoGraphDeployment",
        "metadata": {"name": name},
        "spec": {"components": components},
    }


@pytest.fixture(scope="module")
def stage(cluster: Cluster, release: Release, runtime: str) -> Iterator[Stage]:
    cluster.load_image(RUNTIME, NEXT_RUNTIME_NAME)
    with cluster.namespace("load") as namespace:
        graph = Graph(cluster, namespace, "served")
        document = a_graph_document(graph.name)
        graph.apply(document)
        graph.wait_ready()
        yield Stage(graph, graph.url(), document)
        graph.delete()


@pytest.fixture(autouse=True)
def whole(stage: Stage) -> None:
    """Every test begins with two of each, whatever the one before did."""
    stage.graph.wait_pods("Frontend", 2)
    stage.graph.wait_pods("worker", 2)


def test_a_deleted_worker_ends_no_stream(stage: Stage, record_property: Any) -> None:
    with stage.load() as load:
        flowing(load)
        victim = name_of(stage.graph.pods("worker")[0])
        stage.graph.kubectl("delete", "pod", victim)
        stage.graph.wait_pods("worker", 2)
        calm(load)
    nobody_noticed(load, "worker pod deleted", record_property)


def test_scaling_up_and_down_ends_no_stream(stage: Stage, record_property: Any) -> None:
    with stage.load() as load:
        flowing(load)
        for replicas in (4, 2):
            stage.graph.kubectl("scale", "dgdsa/served-worker", f"--replicas={replicas}")
            stage.graph.wait_pods("worker", replicas)
            calm(load)
        wait_until(lambda: len(all_pods(stage.graph, "worker")) == 2, "the drained pods end", deadline_s=_DEADLINE_S)
    nobody_noticed(load, "scaled 2 -> 4 -> 2", record_property)


def test_a_rolled_image_ends_no_stream(stage: Stage, record_property: Any) -> None:
    document = copy.deepcopy(stage.document)
    document["spec"]["components"][1]["podTemplate"]["spec"]["containers"][0]["image"] = NEXT_RUNTIME_NAME
    with stage.load() as load:
        flowing(load)
        before = {name_of(pod) for pod in stage.graph.pods("worker")}
        stage.graph.apply(document)
        stage.graph.wait_ready()
        assert {image_of(pod) for pod in stage.graph.wait_pods("worker", 2)} == {NEXT_RUNTIME_NAME}
        assert before.isdisjoint(name_of(pod) for pod in stage.graph.pods("worker"))
        calm(load)
    nobody_noticed(load, "worker image rolled", record_property)


def test_a_deleted_frontend_ends_no_stream(stage: Stage, record_property: Any) -> None:
    with stage.load() as load:
        flowing(load)
        stage.graph.kubectl("delete", "pod", name_of(stage.graph.pods("Frontend")[0]))
        stage.graph.wait_pods("Frontend", 2)
        calm(load)
    nobody_noticed(load, "one of two frontends deleted", record_property)


def test_a_restarted_operator_ends_no_stream(stage: Stage, release: Release, record_property: Any) -> None:
    with stage.load() as load:
        flowing(load)
        for verb in ("restart", "status"):
            words = ("rollout", verb, "deployment/dynamo-operator", "-n", release.namespace)
            stage.graph.cluster.kubectl(*words, timeout_s=_DEADLINE_S)
        calm(load)
    nobody_noticed(load, "operator restarted", record_property)


def test_a_killed_worker_ends_its_own_streams_with_an_error_frame(stage: Stage, record_property: Any) -> None:
    with stage.load() as load:
        flowing(load)
        victim = name_of(stage.graph.pods("worker")[0])
        at_s = float(stage.graph.run_python(victim, _SIGNAL.format(signal="SIGKILL")))
        wait_until(lambda: began_after(load, at_s) >= STREAMS, "new streams end", deadline_s=_DEADLINE_S)
        places = places_of(stage.graph)
    lost = [stream for stream in load.streams if stream.failure(load.ask.tokens)]
    latest_s = max(stream.ended_s for stream in lost) - at_s
    record_property("load", ("worker SIGKILLed", f"{load.summary()}; last error frame after {latest_s:.2f} s"))
    assert lost
    assert {places.get(stream.request_id) for stream in lost} == {victim}
    assert all(has_error_frame(stream) for stream in lost), load.summary()
    assert latest_s < 1.0, load.summary()


def test_a_frozen_worker_is_noticed_and_nothing_hangs(stage: Stage, record_property: Any) -> None:
    with stage.load() as load:
        flowing(load)
        victim = name_of(stage.graph.pods("worker")[0])
        at_s = float(stage.graph.run_python(victim, _SIGNAL.format(signal="SIGSTOP")))
        wait_until(lambda: began_after(load, at_s + HANG_S / 2) >= STREAMS, "new streams end", deadline_s=_DEADLINE_S)
        places = places_of(stage.graph)
    stage.graph.run_python(victim, _SIGNAL.format(signal="SIGCONT"))
    lost = [stream for stream in load.streams if stream.failure(load.ask.tokens)]
    noticed_s = max(stream.ended_s for stream in lost) - at_s
    longest_s = max(stream.ended_s - stream.began_s for stream in load.streams)
    said = f"{load.summary()}; given up after {noticed_s:.1f} s, longest request {longest_s:.1f} s"
    record_property("load", ("worker frozen (SIGSTOP)", said))
    assert lost
    assert {places.get(stream.request_id) for stream in lost} == {victim}
    assert all(has_error_frame(stream) for stream in lost), said
    assert noticed_s < 2 * HEALTH_INTERVAL_S + 0.5, said
    assert longest_s < HANG_S, said


def flowing(load: Load) -> None:
    """Returns when streams have ended whole, so that all clients are at work."""
    wait_until(lambda: len(load.streams) >= _WARM_STREAMS, "streams flow", deadline_s=_DEADLINE_S)


def calm(load: Load) -> None:
    """Streams that began after the disruption must be whole too."""
    at_s = time.time()
    wait_until(lambda: began_after(load, at_s) >= STREAMS, "streams flow on", deadline_s=_DEADLINE_S)


def began_after(load: Load, at_s: float) -> int:
    return sum(stream.began_s > at_s for stream in list(load.streams))


def nobody_noticed(load: Load, what: str, record_property: Any) -> None:
    record_property("load", (what, load.summary()))
    assert load.failures() == [], load.summary()


def has_error_frame(stream: Stream) -> bool:
    return stream.status == 200 and stream.error.startswith('data: {"error"')


def places_of(graph: Graph) -> dict[str, str]:
    """Where the frontends sent each request: worker names by request id."""
    places: dict[str, str] = {}
    for pod in graph.ready_pods("Frontend"):
        page = httpx.get(f"http://{pod['status']['podIP']}:8000/debug/decisions", trust_env=False, timeout=5).json()
        for decision in reversed(page["decisions"]):
            places[decision["request_id"].rpartition(".")[0]] = decision["worker_name"]
    return places


def all_pods(graph: Graph, component: str) -> list[dict[str, Any]]:
    """Those that are ending too."""
    chosen = f"nvidia.com/dynamo-graph-deployment-name={graph.name},nvidia.com/dynamo-component={component}"
    found: list[dict[str, Any]] = graph.get("pods", "-l", chosen)["items"]
    return found


def image_of(pod: dict[str, Any]) -> str:
    return str(pod["spec"]["containers"][0]["image"])
