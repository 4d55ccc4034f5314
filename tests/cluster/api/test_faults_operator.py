"""The operator's process behind an API server that fails, and beside others who change what it made.

Whatever happened, it converges once that ends.
"""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from dynamo_operator.handlers.facts import render_context
from dynamo_operator.handlers.settings import Namespace, Settings
from dynamo_operator.kube import Client
from dynamo_operator.kube.objects import COMPONENT_DEPLOYMENT, DEPLOYMENT, GRAPH, SERVICE
from tests.cluster.api.faults import NONE, Faults, FaultyApi, faulty_api
from tests.cluster.api.graph_stage import Stage
from tests.cluster.commands import wait_until
from tests.cluster.local.api_only import ApiCluster
from tests.cluster.local.control_plane import start_api_server
from tests.cluster.local.processes import Processes
from tests.cluster.operator_process import OperatorProcess, running_operator, start_operator
from tests.unit.operator_plane.render.factories import a_component, a_graph_document

DEADLINE_S = 60.0
REPAIR_S = 10.0
LOOK_S = 0.2
HITS = 5
RESTARTS = 3
# Takes a silent watch for a dead one sooner than the API server's bookmarks allow.
HASTY = (
    "-c",
    "import sys; from dynamo_operator.handlers import watching; watching.SILENCE_LIMIT_S = 6.0; "
    "from dynamo_operator.__main__ import main; sys.exit(main(sys.argv[1:]))",
)
# What an operator renders that serves one namespace only.
RESTRICTED = render_context(Settings(namespace=Namespace(restricted="any")), frozenset())
Document = dict[str, Any]


def a_graph(name: str = "g", *, replicas: int = 2) -> Document:
    return a_graph_document(
        a_component("Frontend", "frontend"),
        a_component("Decode", "decode", replicas=replicas),
        a_component("Prefill", "prefill"),
        name=name,
    )


GRAPHS = tuple(a_graph(f"g{number}") for number in range(4))
GROWN = tuple(a_graph(f"g{number}", replicas=3) for number in range(4))


class View:
    """One namespace past the faults: what is there, compared with what an operator without faults makes."""

    def __init__(self, cluster: ApiCluster, kube: Client, namespace: str) -> None:
        self.cluster = cluster
        self.namespace = namespace
        self._stage = Stage(kube, namespace)

    def apply(self, *documents: Document) -> None:
        self.cluster.apply(*documents, namespace=self.namespace)

    def kubectl(self, *arguments: str) -> str:
        return self.cluster.kubectl(*arguments, "-n", self.namespace)

    async def tree(self) -> str:
        await self._stage.store.refresh()
        return _text(self._stage)

    async def names(self, kind: Any) -> list[str]:
        await self._stage.store.refresh()
        return [live.ref.name for live in self._stage.store.find(kind)]

    async def until(self, expected: str, operator: OperatorProcess, deadline_s: float = DEADLINE_S) -> float:
        """Seconds until the tree is as expected."""
        began_s = time.monotonic()
        while await self.tree() != expected:
            assert operator.is_running, operator.said()[-3000:]
            assert time.monotonic() - began_s < deadline_s, operator.said()[-3000:]
            await asyncio.sleep(LOOK_S)
        return time.monotonic() - began_s


def _text(stage: Stage) -> str:
    return repr(sorted(stage.tree().items())).replace(stage.namespace, "NAMESPACE")


def until(holds: Callable[[], bool], operator: OperatorProcess, what: str = "it holds") -> float:
    return wait_until(holds, what, deadline_s=DEADLINE_S, explain=lambda: operator.said()[-3000:])


@pytest.fixture
def view(api_cluster: ApiCluster, kube: Client, api_namespace: str) -> View:
    return View(api_cluster, kube, api_namespace)


@pytest.fixture
def faulty(api_cluster: ApiCluster, tmp_path: Path) -> Iterator[FaultyApi]:
    with faulty_api(api_cluster, tmp_path) as api:
        yield api


@pytest.fixture
def operator(faulty: FaultyApi, api_namespace: str, tmp_path: Path) -> Iterator[OperatorProcess]:
    """Serves one namespace, through the faulty API server."""
    settings = {"namespace": {"restricted": api_namespace}}
    with running_operator(faulty.kubeconfig, tmp_path, namespace=api_namespace, settings=settings) as process:
        until(process.is_ready, process)
        yield process


async def undisturbed(view: View, kube: Client, *documents: Document) -> str:
    """What these documents come to, applied one after another, without any fault."""
    with view.cluster.namespace() as namespace:
        stage = Stage(kube, namespace, RESTRICTED)
        for document in documents:
            view.cluster.apply(document, namespace=namespace)
            written = -1
            while len(stage.mortal.writes) != written:
                written = len(stage.mortal.writes)
                await stage.pass_(document["metadata"]["name"])
        await stage.store.refresh()
        return _text(stage)


@pytest.mark.parametrize(
    "faults",
    [
        pytest.param(Faults(refusals=(429, 500, 409), share=0.1), id="a-tenth-is-refused"),
        pytest.param(Faults(refusals=(500, 409), share=1.0), id="every-call-is-refused"),
        pytest.param(Faults(truncated=True, share=0.1), id="answers-and-watches-are-truncated"),
        pytest.param(Faults(is_expired=True), id="watches-have-expired"),
    ],
)
async def test_graphs_converge_after_faulty_answers(
    operator: OperatorProcess, faulty: FaultyApi, view: View, kube: Client, faults: Faults
) -> None:
    expected = await undisturbed(view, kube, *GRAPHS, *GROWN)
    faulty.faults = faults
    faulty.cut_watches()
    view.apply(*GRAPHS)
    view.apply(*GROWN)
    until(lambda: faulty.hit >= HITS, operator, f"{HITS} calls met a fault")
    faulty.faults = NONE
    await view.until(expected, operator)
    view.kubectl("delete", "dgd", "--all")
    await view.until("[]", operator)
    assert "crashed" not in operator.said()


async def test_what_ended_while_watches_were_expired_is_made_anew(
    operator: OperatorProcess, faulty: FaultyApi, view: View, kube: Client
) -> None:
    """No watch ever tells of that end: only a list lacks the object."""
    view.apply(*GRAPHS)
    expected = await undisturbed(view, kube, *GRAPHS)
    await view.until(expected, operator)
    faulty.faults = Faults(is_expired=True)
    faulty.cut_watches()
    until(lambda: faulty.hit >= HITS, operator, "watches expire")
    view.kubectl("delete", "service", "g0-frontend")
    seen = faulty.hit
    until(lambda: faulty.hit >= seen + HITS, operator, "watches expire again")
    faulty.faults = NONE
    await view.until(expected, operator)


async def test_changes_arrive_though_the_wire_froze(
    operator: OperatorProcess, faulty: FaultyApi, view: View, kube: Client
) -> None:
    """Calls in flight run into their deadline; what was open goes on as if nothing had been."""
    view.apply(a_graph())
    await view.until(await undisturbed(view, kube, a_graph()), operator)
    faulty.faults = Faults(is_frozen=True)
    view.apply(a_graph(replicas=4))
    view.kubectl("delete", "service", "g-frontend")
    until(lambda: "lease_unreachable" in operator.said(), operator, "a call ran into its deadline")
    faulty.faults = NONE
    await view.until(await undisturbed(view, kube, a_graph(), a_graph(replicas=4)), operator)


async def test_watches_that_stay_open_and_silent_are_replaced(
    faulty: FaultyApi, view: View, kube: Client, tmp_path: Path
) -> None:
    settings = {"namespace": {"restricted": view.namespace}}
    process = start_operator(faulty.kubeconfig, tmp_path, namespace=view.namespace, settings=settings, words=HASTY)
    try:
        view.apply(a_graph())
        expected = await undisturbed(view, kube, a_graph())
        await view.until(expected, process)
        faulty.deafen_watches()
        view.kubectl("delete", "service", "g-frontend")  # unlike a graph's change, seen in no answer to a write
        until(lambda: faulty.hit > 0, process, "the Service's end is withheld")
        await view.until(expected, process)
    finally:
        process.kill()


async def test_graph_converges_after_restarts_of_the_api_server(
    operator: OperatorProcess, api_cluster: ApiCluster, view: View, kube: Client
) -> None:
    expected = await undisturbed(view, kube, a_graph(replicas=2), a_graph(replicas=2 + RESTARTS))
    processes = Processes(api_cluster.folder, die_with_us=True)
    for count in range(1, RESTARTS + 1):
        view.apply(a_graph(replicas=2 + count))
        processes.stop("kube-apiserver", with_signal=signal.SIGKILL)
        start_api_server(api_cluster.site, processes)  # not in a thread, whose end would end it
    await view.until(expected, operator)


async def test_what_others_change_is_repaired_in_seconds(operator: OperatorProcess, view: View, kube: Client) -> None:
    view.apply(a_graph())
    expected = await undisturbed(view, kube, a_graph())
    await view.until(expected, operator)
    decode = next(name for name in await view.names(DEPLOYMENT) if "decode" in name)
    deeds = {
        "a Deployment is scaled": ("scale", "deployment", decode, "--replicas=9"),
        "a Deployment is deleted": ("delete", "deployment", "g-frontend"),
        "a Service is deleted": ("delete", "service", "g-frontend"),
        "a component deployment is deleted": ("delete", "dcd", decode),
        "labels are taken away": ("label", "deployment", decode, "nvidia.com/selector-"),
    }
    slow = {}
    for deed, arguments in deeds.items():
        view.kubectl(*arguments)
        took_s = await view.until(expected, operator)
        if took_s > REPAIR_S:
            slow[deed] = took_s
    assert not slow


async def test_stripped_annotations_change_nothing_that_runs(
    operator: OperatorProcess, view: View, kube: Client
) -> None:
    """Nothing is kept in annotations that cannot be rebuilt."""
    view.apply(a_graph())
    expected = await undisturbed(view, kube, a_graph())
    await view.until(expected, operator)
    deployments = {
        name: view.cluster.get("deployment", name, "-n", view.namespace) for name in await view.names(DEPLOYMENT)
    }
    strip = '{"metadata":{"annotations":null}}'
    for kind in (GRAPH, COMPONENT_DEPLOYMENT, DEPLOYMENT, SERVICE):
        for name in await view.names(kind):
            view.kubectl("patch", kind.plural, name, "--type=merge", "-p", strip)
    await view.until(expected, operator, REPAIR_S)
    for name, before in deployments.items():
        after = view.cluster.get("deployment", name, "-n", view.namespace)
        assert after["metadata"]["uid"] == before["metadata"]["uid"]
        assert after["spec"]["template"] == before["spec"]["template"]


async def test_graph_deleted_while_no_operator_runs_leaves_nothing(
    faulty: FaultyApi, view: View, kube: Client, tmp_path: Path
) -> None:
    settings = {"namespace": {"restricted": view.namespace}}
    expected = await undisturbed(view, kube, a_graph())
    for is_deleted in (False, True):
        with running_operator(faulty.kubeconfig, tmp_path, namespace=view.namespace, settings=settings) as process:
            if not is_deleted:
                view.apply(a_graph())
            await view.until("[]" if is_deleted else expected, process)
        if not is_deleted:
            view.kubectl("delete", "dgd", "g")


async def test_namespace_with_graphs_can_be_deleted_and_made_again(
    operator: OperatorProcess, view: View, kube: Client
) -> None:
    expected = await undisturbed(view, kube, a_graph())
    view.apply(a_graph())
    await view.until(expected, operator)
    view.cluster.kubectl("delete", "namespace", view.namespace, f"--timeout={DEADLINE_S:.0f}s")
    view.cluster.kubectl("create", "namespace", view.namespace)
    view.apply(a_graph())
    await view.until(expected, operator)
    assert "crashed" not in operator.said()


async def test_frozen_leader_writes_nothing_once_it_is_deposed(
    api_cluster: ApiCluster, view: View, kube: Client, tmp_path: Path
) -> None:
    settings = {"namespace": {"restricted": view.namespace}, "leaderElection": {"enabled": True}}
    start = partial(running_operator, folder=tmp_path, namespace=view.namespace, settings=settings)
    expected = await undisturbed(view, kube, *GRAPHS)
    with (
        faulty_api(api_cluster, tmp_path / "first", user="first") as to_first,
        faulty_api(api_cluster, tmp_path / "second", user="second") as to_second,
        start(to_first.kubeconfig) as first,
    ):
        until(first.is_leading, first)
        with start(to_second.kubeconfig) as second:
            until(second.is_ready, second)
            to_first.faults = Faults(late_s=0.5)  # so that it is frozen in the middle of its passes
            began = api_cluster.audit.mark()
            view.apply(*GRAPHS)
            until(lambda: _writes(api_cluster, "first", began) > 0, first, "it writes")
            first.signal(signal.SIGSTOP)
            until(second.is_leading, second)
            taken_over = api_cluster.audit.mark()
            to_first.faults = NONE
            first.signal(signal.SIGCONT)
            await view.until(expected, second)
            until(lambda: "leading=False" in first.said(), first, "it knows that it is deposed")
            assert _writes(api_cluster, "first", taken_over) == 0
            assert _writes(api_cluster, "second", taken_over) > 0


def _writes(cluster: ApiCluster, user: str, since: int) -> int:
    """Those of objects; a lease may be asked for by anybody."""
    calls = cluster.audit.calls(since)
    return sum(call.is_write and call.user == user and call.resource != "leases" for call in calls)
