"""The planner's connector against a real API server: what it reads, what it writes, what it may not."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from typing import Any

import pytest
from lightkube import AsyncClient
from lightkube.config.kubeconfig import KubeConfig
from lightkube.config.models import Cluster, User

from dynamo.planner.cluster import ClusterConnector, Target
from dynamo.planner.connector import Happening
from dynamo.planner.errors import Conflicted, GraphError, Refused, Unreachable
from dynamo.planner.exposition import Exposition
from dynamo.planner.loop import Planner
from dynamo.planner.measure import Measure, Scope
from dynamo.planner.observation import Bounds, Pace, Policy, Targets
from dynamo.planner.scrape import Page
from dynamo.planner.sight import Sight, Source, Steadiness
from dynamo.process.logs import EventLog
from dynamo.wire.cards import Role
from tests.cluster.access import Access

GRAPH = "g"
API = "nvidia.com/v1beta1"
_ADAPTERS = "dynamographdeploymentscalingadapters"
RIGHTS = [
    {"apiGroups": ["nvidia.com"], "resources": ["dynamographdeployments"], "verbs": ["get", "patch"]},
    {"apiGroups": ["nvidia.com"], "resources": [f"{_ADAPTERS}/scale"], "verbs": ["get", "patch"]},
    {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["list"]},
]
"""The least that a planner needs; roles that planners get grant more."""


@dataclass
class Stage:
    """A graph with a frontend, a prefill and a decode component, decode behind an adapter."""

    access: Access
    namespace: str

    def apply_graph(self, replicas: int = 2) -> None:
        components = [
            _component("Frontend", "frontend", 1),
            _component("Prefill", "prefill", replicas, gpus=2),
            _component("Decode", "decode", replicas),
        ]
        document = {"apiVersion": API, "kind": "DynamoGraphDeployment", "metadata": {"name": GRAPH}}
        self.access.apply({**document, "spec": {"components": components}}, namespace=self.namespace)

    def apply_adapter(self, replicas: int = 2) -> None:
        self.access.apply(
            {
                "apiVersion": API,
                "kind": "DynamoGraphDeploymentScalingAdapter",
                "metadata": {"name": f"{GRAPH}-decode"},
                "spec": {"replicas": replicas, "dgdRef": {"name": GRAPH, "componentName": "Decode"}},
            },
            namespace=self.namespace,
        )

    def report(self, ready: int = 2, **status: Any) -> None:
        """What the operator would report once `ready` decode workers serve."""
        generation = self.graph()["metadata"]["generation"]
        components = {
            name: {
                "componentKind": "Deployment",
                "componentNames": [name],
                **dict.fromkeys(("replicas", "updatedReplicas", "readyReplicas", "availableReplicas"), count),
            }
            for name, count in (("Frontend", 1), ("Prefill", 2), ("Decode", ready))
        }
        patch = {
            "status": {"state": "successful", "observedGeneration": generation, "components": components, **status}
        }
        self.access.kubectl(
            *("patch", "dynamographdeployments.v1beta1.nvidia.com", GRAPH, "-n", self.namespace),
            *("--subresource=status", "--type=merge", "-p", json.dumps(patch)),
        )

    def add_slice(self, component: str, port: str, addresses: Iterable[str], *, terminating: bool = False) -> None:
        conditions = {"ready": not terminating, "terminating": terminating}
        endpoints = [{"addresses": [one], "conditions": conditions, "targetRef": _pod(one)} for one in addresses]
        self.access.apply(
            {
                "apiVersion": "discovery.k8s.io/v1",
                "kind": "EndpointSlice",
                "metadata": {
                    "name": f"{component.lower()}-{'ending' if terminating else 'ready'}",
                    "labels": {
                        "nvidia.com/dynamo-graph-deployment-name": GRAPH,
                        "nvidia.com/dynamo-component": component,
                    },
                },
                "addressType": "IPv4",
                "endpoints": endpoints,
                "ports": [{"name": port, "port": 8000 if port == "http" else 9090}],
            },
            namespace=self.namespace,
        )

    def graph(self) -> dict[str, Any]:
        return dict(self.access.get("dynamographdeployments.v1beta1.nvidia.com", GRAPH, "-n", self.namespace))

    def replicas(self, component: str) -> int:
        found = self.graph()["spec"]["components"]
        return int(next(one["replicas"] for one in found if one["name"] == component))

    def adapter_replicas(self) -> int:
        name = "dynamographdeploymentscalingadapters.v1beta1.nvidia.com"
        return int(self.access.get(name, f"{GRAPH}-decode", "-n", self.namespace)["spec"]["replicas"])

    def config_of_planner(self) -> KubeConfig:
        """Credentials with a planner's rights and no others."""
        for document in (
            {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "planner"}},
            _rbac("Role", rules=RIGHTS),
            _rbac(
                "RoleBinding",
                roleRef={"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "planner"},
                subjects=[{"kind": "ServiceAccount", "name": "planner", "namespace": self.namespace}],
            ),
        ):
            self.access.apply(document, namespace=self.namespace)
        token = self.access.kubectl("create", "token", "planner", "-n", self.namespace).strip()
        return self.config_of(token)

    def config_of(self, token: str) -> KubeConfig:
        own = KubeConfig.from_file(self.access.kubeconfig).get()
        assert own is not None, "the cluster's own configuration has a context"
        user = User(token=token)
        return KubeConfig.from_one(cluster=own.cluster, user=user, context_name="t", namespace=self.namespace)


def _rbac(kind: str, **fields: Any) -> dict[str, Any]:
    return {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind, "metadata": {"name": "planner"}, **fields}


def _pod(address: str) -> dict[str, str]:
    return {"kind": "Pod", "name": f"pod-{address.replace('.', '-')}"}


def _component(name: str, kind: str, replicas: int, gpus: int = 0) -> dict[str, Any]:
    container: dict[str, Any] = {"name": "main", "image": "dynamo/none:1"}
    if gpus:
        container["resources"] = {"limits": {"nvidia.com/gpu": str(gpus)}}
    return {"name": name, "type": kind, "replicas": replicas, "podTemplate": {"spec": {"containers": [container]}}}


@pytest.fixture
def stage(api_cluster: Access, api_namespace: str) -> Stage:
    stage = Stage(api_cluster, api_namespace)
    stage.apply_graph()
    stage.apply_adapter()
    stage.report()
    return stage


@pytest.fixture
def log() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
async def planner_connector(stage: Stage, log: io.StringIO) -> AsyncIterator[ClusterConnector]:
    """With a planner's own rights."""
    async with a_connector(stage, stage.config_of_planner(), log) as connector:
        yield connector


@contextlib.asynccontextmanager
async def a_connector(
    stage: Stage, config: KubeConfig, log: io.StringIO, mode: str = "disagg"
) -> AsyncIterator[ClusterConnector]:
    client = AsyncClient(config=config, trust_env=False)
    connector = ClusterConnector(client, Target(stage.namespace, GRAPH, mode, {}), EventLog(log))
    try:
        yield connector
    finally:
        await connector.close()


async def test_look_joins_graph_adapters_and_slices(stage: Stage, planner_connector: ClusterConnector) -> None:
    stage.apply_adapter(3)
    stage.add_slice("Frontend", "http", ["10.0.0.1", "10.0.0.2"])
    stage.add_slice("Decode", "system", ["10.0.1.1", "10.0.1.2"])
    stage.add_slice("Decode", "system", ["10.0.1.9"], terminating=True)

    sight = await planner_connector.look()

    decode, prefill = sight.components[Role.DECODE], sight.components[Role.PREFILL]
    assert (decode.name, decode.desired, decode.ready, decode.present) == ("Decode", 3, 2, 3)
    assert (prefill.desired, prefill.gpus_per_replica, decode.gpus_per_replica) == (2, 2, 1)
    assert [source.url for source in sight.frontends] == [f"http://10.0.0.{n}:8000/metrics" for n in (1, 2)]
    assert [source.url for source in sight.workers[Role.DECODE]] == [f"http://10.0.1.{n}:9090/metrics" for n in (1, 2)]
    assert (sight.steadiness, sight.why) == (Steadiness.GROWING, "1 pods are ending")
    assert sight.notes == ("Decode asks for no GPUs: each replica counts as one against the budget",)


async def test_scale_writes_the_adapter_and_leaves_the_graph(stage: Stage, planner_connector: ClusterConnector) -> None:
    await planner_connector.scale("Decode", 5)
    await planner_connector.scale("Decode", 5)

    assert (stage.adapter_replicas(), stage.replicas("Decode")) == (5, 2)


async def test_component_without_adapter_is_scaled_in_the_graph(
    stage: Stage, planner_connector: ClusterConnector
) -> None:
    await planner_connector.scale("Prefill", 4)

    assert (stage.replicas("Prefill"), stage.replicas("Decode")) == (4, 2)


async def test_moved_component_is_never_scaled_in_anothers_place(
    stage: Stage, planner_connector: ClusterConnector, monkeypatch: pytest.MonkeyPatch
) -> None:
    stale = await planner_connector._graph()
    components = stage.graph()["spec"]["components"]
    patch = [{"op": "replace", "path": "/spec/components", "value": [components[1], components[0], components[2]]}]
    stage.access.kubectl(
        *("patch", "dynamographdeployments.v1beta1.nvidia.com", GRAPH, "-n", stage.namespace),
        *("--type=json", "-p", json.dumps(patch)),
    )
    real, answers = planner_connector._graph, [stale]

    async def graph_read_too_early() -> Any:
        return answers.pop() if answers else await real()

    monkeypatch.setattr(planner_connector, "_graph", graph_read_too_early)
    await planner_connector.scale("Prefill", 4)

    assert (stage.replicas("Prefill"), stage.replicas("Frontend")) == (4, 1)

    async def always_stale() -> Any:
        return stale

    monkeypatch.setattr(planner_connector, "_graph", always_stale)
    with pytest.raises(Conflicted):
        await planner_connector.scale("Prefill", 6)
    assert stage.replicas("Frontend") == 1


async def test_refused_write_says_what_is_forbidden(stage: Stage, log: io.StringIO) -> None:
    nobody = stage.config_of(stage.access.kubectl("create", "token", "default", "-n", stage.namespace).strip())
    async with a_connector(stage, nobody, log) as connector:
        with pytest.raises(Refused, match=r"scaling Decode: .*forbidden"):
            await connector.scale("Decode", 5)
        with pytest.raises(Refused, match="reading graph g"):
            await connector.look()
        assert stage.adapter_replicas() == 2


async def test_negative_replicas_are_refused_by_the_api_server(
    stage: Stage, planner_connector: ClusterConnector
) -> None:
    with pytest.raises(Refused, match=r"spec\.replicas"):
        await planner_connector.scale("Decode", -1)


async def test_missing_graph_and_missing_role_are_named(stage: Stage, log: io.StringIO) -> None:
    async with a_connector(stage, KubeConfig.from_file(stage.access.kubeconfig), log, mode="agg") as connector:
        assert (await connector.look()).components[Role.AGGREGATED].name == "Decode"
        stage.access.kubectl("delete", "dynamographdeployments.v1beta1.nvidia.com", GRAPH, "-n", stage.namespace)
        with pytest.raises(GraphError, match=r"reading graph g: .*not found"):
            await connector.look()


async def test_dead_api_server_is_unreachable_in_time(stage: Stage, log: io.StringIO) -> None:
    async with a_connector(
        stage, KubeConfig.from_one(cluster=Cluster(server="http://127.0.0.1:9"), user=User()), log
    ) as connector:
        with pytest.raises(Unreachable, match="reading graph g"):
            await asyncio.wait_for(connector.look(), 11)


@pytest.mark.parametrize(
    ("status", "steadiness", "why"),
    [
        pytest.param({}, Steadiness.SETTLED, "", id="all-ready"),
        pytest.param({"observedGeneration": 0}, Steadiness.BLOCKED, "not seen generation", id="operator-behind"),
        pytest.param(
            {"rollingUpdate": {"phase": "InProgress"}}, Steadiness.BLOCKED, "rolling update is InProgress", id="rollout"
        ),
        pytest.param({"rollingUpdate": {"phase": "Failed"}}, Steadiness.BLOCKED, "is Failed", id="failed-rollout"),
        pytest.param({"rollingUpdate": {"phase": "Completed"}}, Steadiness.SETTLED, "", id="finished-rollout"),
    ],
)
async def test_status_says_what_may_be_written(
    stage: Stage, planner_connector: ClusterConnector, status: dict[str, Any], steadiness: Steadiness, why: str
) -> None:
    stage.report(2, **status)

    sight = await planner_connector.look()

    assert sight.steadiness is steadiness
    assert why in sight.why


async def test_events_reach_whoever_describes_the_graph(stage: Stage, log: io.StringIO) -> None:
    async with a_connector(stage, KubeConfig.from_file(stage.access.kubeconfig), log) as connector:
        await connector.look()

        await connector.tell(Happening.HOLDING, "no frontend is ready" * 100, is_warning=True)

        events = stage.access.get("events", "-n", stage.namespace)["items"]
        assert [(one["reason"], one["type"], one["involvedObject"]["name"]) for one in events] == [
            ("PlannerHolding", "Warning", GRAPH)
        ]
        assert events[0]["involvedObject"]["uid"] == stage.graph()["metadata"]["uid"]


async def test_forbidden_events_cost_one_log_line(
    stage: Stage, planner_connector: ClusterConnector, log: io.StringIO
) -> None:
    await planner_connector.look()

    for _ in range(3):
        await planner_connector.tell(Happening.SCALED, "Decode 2 -> 3")

    assert log.getvalue().count("planner_events_not_allowed") == 1


class Scripted:
    """Metrics pages of a frontend and workers whose load a test sets."""

    def __init__(self) -> None:
        self.started = 0.0
        self.first_tokens = 0.0
        self.queued = 0.0
        self.now_s = 1000.0

    async def fetch(self, sources: Iterable[Source]) -> dict[str, Page]:
        return {source.name: Page(self._text(source)) for source in sources}

    def load(self, seconds: float, requests: float, queued: float) -> None:
        self.now_s += seconds
        self.started += requests
        self.first_tokens += requests
        self.queued = queued

    def _text(self, source: Source) -> str:
        if ":9090" in source.url:
            return (
                f"vllm:num_requests_running 4\nvllm:num_requests_waiting {self.queued}\nvllm:kv_cache_usage_perc 0.2\n"
            )
        count = self.first_tokens
        sums = {"time_to_first_token_seconds": 0.5, "input_sequence_tokens": 1000, "output_sequence_tokens": 50}
        means = "".join(
            f'dynamo_frontend_{name}_{part}{{model="m"}} {number}\n'
            for name, mean in {**sums, "inter_token_latency_seconds": 0.02}.items()
            for part, number in (("sum", mean * count), ("count", count))
        )
        return (
            f'dynamo_frontend_requests_started_total{{model="m"}} {self.started}\n'
            f'dynamo_frontend_queued_requests{{model="m"}} {self.queued}\n{means}'
        )


async def test_tripled_load_grows_the_adapter_and_its_end_shrinks_it(stage: Stage, log: io.StringIO) -> None:
    stage.add_slice("Frontend", "http", ["10.0.0.1"])
    stage.add_slice("Decode", "system", ["10.0.1.1", "10.0.1.2"])
    pages = Scripted()
    async with a_connector(stage, KubeConfig.from_file(stage.access.kubeconfig), log, mode="agg") as connector:
        policy = Policy(Targets(1.0, 0.05), Bounds({Role.AGGREGATED: 1}, max_gpus=8), Pace(tick_s=5, settle_s=20))
        planner = Planner(
            connector, pages, Measure(Scope(), 5), policy, Exposition(policy), EventLog(log), clock=lambda: pages.now_s
        )

        async def ticks(count: int, requests: float, queued: float) -> Sight:
            for _ in range(count):
                pages.load(5, requests, queued)
                await planner.tick()
                wanted = stage.adapter_replicas()
                stage.report(wanted)
                stage.add_slice("Decode", "system", [f"10.0.1.{number + 1}" for number in range(wanted)])
            return await connector.look()

        await ticks(4, 5, 0)
        before = stage.adapter_replicas()
        grown = (await ticks(3, 30, 4)).components[Role.AGGREGATED].desired
        shrunk = (await ticks(12, 0, 0)).components[Role.AGGREGATED].desired

        assert before <= 3
        assert grown >= before + 2
        assert shrunk < grown
        assert "planner_scaled" in log.getvalue()
        reasons = {one["reason"] for one in stage.access.get("events", "-n", stage.namespace)["items"]}
        assert {"PlannerScaled", "PlannerHolding", "PlannerResumed"} <= reasons
