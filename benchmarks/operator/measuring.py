"""One run: a fresh API server, fake nodes, an operator of its own, so many graphs; then rest, then their deletion."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2

from benchmarks.operator.graphs import COMPONENTS, PODS, a_graph, namespaces
from benchmarks.operator.progress import DEPLOYMENTS, until_count, until_ready
from dynamo_operator.kube.access import USER_AGENT
from tests.cluster.commands import say
from tests.cluster.local.api_only import ApiCluster
from tests.cluster.local.processes import Processes
from tests.cluster.operator_process import OperatorProcess, cpu_s, running_operator
from tests.cluster.raw_http import raw_http

NODES = 10
SETTLE_S = 10.0  # counts in statuses may be written a few seconds after the last pod
START_S = 60.0
CONTROL_PLANE = ("kube-apiserver", "etcd", "kube-controller-manager", "kube-scheduler", "kwok")
Calls = Counter[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Plan:
    """graphs: how many. rest_s: how long nothing happens once all are Ready. deadline_s: for all to become Ready."""

    graphs: int
    rest_s: float
    deadline_s: float


@dataclass(frozen=True, slots=True)
class Figures:
    """Seconds count from before the apply. Calls are by verb and resource; those at rest hold the lease's renewals."""

    graphs: int
    applied_s: float
    children_s: float
    ready_s: float
    deleted_s: float
    cpu_s: float
    idle_rss_mb: float
    peak_rss_mb: float
    calls: Calls
    rest_s: float
    rest_cpu_s: float
    rest_calls: Calls
    control_plane_cpu_s: dict[str, float]
    passes: int

    @property
    def pods(self) -> int:
        return self.graphs * PODS


@dataclass(frozen=True, slots=True)
class Pace:
    """How long an operator takes for the children of so many graphs where nobody makes pods of them."""

    children_s: float
    cpu_s: float
    control_plane_cpu_s: dict[str, float]


async def measure(cluster: ApiCluster, folder: Path, plan: Plan) -> Figures:
    async with _started(cluster, folder, plan) as (operator, http):
        return await _run(cluster, operator, http, plan)


async def measure_pace(cluster: ApiCluster, folder: Path, plan: Plan) -> Pace:
    """On an API server without controllers."""
    async with _started(cluster, folder, plan) as (operator, http):
        cpu_before_s, plane_before_s = operator.cpu_s(), _control_plane_cpu_s(cluster)
        say(f"applying {plan.graphs} graphs")
        began_s = time.monotonic()
        async with asyncio.timeout(plan.deadline_s), asyncio.TaskGroup() as tasks:
            tasks.create_task(asyncio.to_thread(cluster.apply, *(a_graph(number) for number in range(plan.graphs))))
            children = tasks.create_task(until_count(http, DEPLOYMENTS, plan.graphs * COMPONENTS, began_s))
        return Pace(children.result(), operator.cpu_s() - cpu_before_s, _since(plane_before_s, cluster))


@asynccontextmanager
async def _started(
    cluster: ApiCluster, folder: Path, plan: Plan
) -> AsyncIterator[tuple[OperatorProcess, httpx2.AsyncClient]]:
    for namespace in (*namespaces(plan.graphs), "dynamo-system"):
        cluster.kubectl("create", "namespace", namespace)
    settings = {"leaderElection": {"enabled": True}}
    with running_operator(cluster.kubeconfig, folder, namespace="dynamo-system", settings=settings) as operator:
        await _until_leading(operator)
        async with raw_http(cluster.kubeconfig, timeout_s=30) as http:
            http.headers["User-Agent"] = "benchmark"  # its own looks are not the operator's calls
            yield operator, http


async def _run(cluster: ApiCluster, operator: OperatorProcess, http: httpx2.AsyncClient, plan: Plan) -> Figures:
    idle_rss_mb, cpu_before_s, mark = operator.peak_rss_mb(), operator.cpu_s(), cluster.audit.mark()
    plane_before_s = _control_plane_cpu_s(cluster)
    documents = [a_graph(number) for number in range(plan.graphs)]
    say(f"applying {plan.graphs} graphs")
    began_s = time.monotonic()
    async with asyncio.timeout(plan.deadline_s), asyncio.TaskGroup() as tasks:
        applying = tasks.create_task(asyncio.to_thread(cluster.apply, *documents))
        applying.add_done_callback(lambda _: applied.append(time.monotonic() - began_s))
        applied: list[float] = []
        children = tasks.create_task(until_count(http, DEPLOYMENTS, plan.graphs * COMPONENTS, began_s))
        ready = tasks.create_task(until_ready(http, plan.graphs, began_s))
    say(f"all children after {children.result():.0f} s, all Ready after {ready.result():.0f} s")
    await asyncio.sleep(SETTLE_S)
    calls, spent_s = _calls(cluster, mark), operator.cpu_s() - cpu_before_s
    plane_s = _since(plane_before_s, cluster)
    passes = _passes(operator)
    mark, cpu_before_s = cluster.audit.mark(), operator.cpu_s()
    say(f"at rest for {plan.rest_s:.0f} s, then everything is deleted")
    await asyncio.sleep(plan.rest_s)
    rest_calls, rest_cpu_s = _calls(cluster, mark), operator.cpu_s() - cpu_before_s
    peak_rss_mb = operator.peak_rss_mb()
    return Figures(
        graphs=plan.graphs,
        applied_s=applied[0],
        children_s=children.result(),
        ready_s=ready.result(),
        deleted_s=await _delete(cluster, http, plan),
        cpu_s=spent_s,
        idle_rss_mb=idle_rss_mb,
        peak_rss_mb=peak_rss_mb,
        calls=calls,
        rest_s=plan.rest_s,
        rest_cpu_s=rest_cpu_s,
        rest_calls=rest_calls,
        control_plane_cpu_s=plane_s,
        passes=passes,
    )


async def _delete(cluster: ApiCluster, http: httpx2.AsyncClient, plan: Plan) -> float:
    """Seconds until no Deployment is left."""
    began_s = time.monotonic()
    async with asyncio.timeout(plan.deadline_s):
        await asyncio.to_thread(cluster.kubectl, "delete", "dgd", "--all", "-A", timeout_s=plan.deadline_s)
        return await until_count(http, DEPLOYMENTS, 0, began_s)


async def _until_leading(operator: OperatorProcess) -> None:
    async with asyncio.timeout(START_S):
        while not (await asyncio.to_thread(operator.is_leading) and await asyncio.to_thread(operator.is_ready)):
            assert operator.is_running, operator.said()[-3000:]
            await asyncio.sleep(0.2)


def _calls(cluster: ApiCluster, since: int) -> Calls:
    return Counter((call.verb, call.resource) for call in cluster.audit.calls(since) if call.agent == USER_AGENT)


def _passes(operator: OperatorProcess) -> int:
    """Of all graphs, since the operator's start."""
    lines = (line for line in operator.metrics().splitlines() if line.startswith("dynamo_operator_reconcile_total"))
    return int(sum(float(line.rpartition(" ")[2]) for line in lines))


def _since(before_s: dict[str, float], cluster: ApiCluster) -> dict[str, float]:
    return {name: after - before_s[name] for name, after in _control_plane_cpu_s(cluster).items()}


def _control_plane_cpu_s(cluster: ApiCluster) -> dict[str, float]:
    processes = Processes(cluster.folder, die_with_us=True)
    pids = {name: processes.pid(name) for name in CONTROL_PLANE}
    return {name: cpu_s(pid) for name, pid in pids.items() if pid}
