"""What happens between a look and a write, on a real API server: others' objects, successors, a namespace's end, two
writers of replicas."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from dynamo_operator.kube import Client, Document, Live, Ref
from dynamo_operator.kube.access import USER_AGENT
from dynamo_operator.kube.events import Notice
from dynamo_operator.kube.objects import GRAPH, SERVICE
from tests.cluster.api.graph_stage import Stage
from tests.cluster.errors import ClusterError
from tests.cluster.local.api_only import ApiCluster
from tests.cluster.operator_process import OperatorProcess, running_operator
from tests.cluster.raw_http import raw_http
from tests.unit.operator_plane.render.factories import a_component, a_graph_document

DEADLINE_S = 60.0
GRAPHS = "dynamographdeployments.v1beta1.nvidia.com"
ADAPTER = "g-worker"
FRONTEND = Ref(SERVICE, "", "g-frontend")


def until(holds: Callable[[], bool], operator: OperatorProcess | None = None) -> None:
    began_s = time.monotonic()
    while not holds():
        late = operator.said()[-2000:] if operator else "in time"
        assert time.monotonic() - began_s < DEADLINE_S, late
        time.sleep(0.1)  # the operator's turn; the deadline is above


class Meanwhile(Stage):
    """Somebody acts right before a Service is written."""

    def __init__(self, kube: Client, namespace: str) -> None:
        super().__init__(kube, namespace)
        self.told: list[Notice] = []
        self.before_service: Callable[[], None] | None = None
        apply = self.mortal.apply

        async def apply_late(document: Document, *, is_new: bool = False) -> Live:
            if document["kind"] == SERVICE.name and (act := self.before_service):
                self.before_service = None
                await asyncio.to_thread(act)
            return await apply(document, is_new=is_new)

        async def record(notice: Notice) -> None:
            self.told.append(notice)

        self.mortal.apply = apply_late  # type: ignore[method-assign]
        self.mortal.record = record  # type: ignore[method-assign]

    async def service(self) -> Live:
        found = await self.kube.get(Ref(SERVICE, self.namespace, FRONTEND.name))
        assert found is not None
        return found

    def status(self) -> Any:
        live = self.graph("g")
        assert live is not None
        return live.document["status"]


def a_service(ports: list[dict[str, Any]], owner: dict[str, Any] | None = None) -> Document:
    metadata: dict[str, Any] = {"name": FRONTEND.name}
    if owner:
        metadata["ownerReferences"] = [owner]
    return {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": {"ports": ports}}


@pytest.fixture
def stage(kube: Client, api_cluster: ApiCluster, api_namespace: str) -> Meanwhile:
    api_cluster.apply(a_graph_document(a_component("Frontend", "frontend")), namespace=api_namespace)
    return Meanwhile(kube, api_namespace)


@pytest.mark.parametrize("is_owned", [False, True], ids=["of-nobody", "of-another"])
@pytest.mark.parametrize("port", [8000, 81], ids=["as-ours", "beside-ours"])
async def test_an_object_that_somebody_made_since_we_looked_stays_theirs(
    stage: Meanwhile, api_cluster: ApiCluster, is_owned: bool, port: int
) -> None:
    def act() -> None:
        owner = None
        if is_owned:
            mine = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "mine"}}
            api_cluster.apply(mine, namespace=stage.namespace)
            uid = api_cluster.get("configmap", "mine", "-n", stage.namespace)["metadata"]["uid"]
            owner = {"apiVersion": "v1", "kind": "ConfigMap", "name": "mine", "uid": uid, "controller": True}
        ports = [{"name": "http", "port": port, "protocol": "TCP", "targetPort": "http"}]
        api_cluster.apply(a_service(ports, owner), namespace=stage.namespace)
        made.append(api_cluster.get("service", FRONTEND.name, "-n", stage.namespace))

    made: list[Any] = []
    stage.before_service = act
    await stage.pass_("g")
    await stage.pass_("g")
    await stage.store.refresh()

    kept = await stage.service()
    assert kept.resource_version == made[0]["metadata"]["resourceVersion"]
    assert kept.applied == {}
    whose = "belongs to ConfigMap mine" if is_owned else "has no owner"
    sentence = f"Service g-frontend exists and {whose}; delete or rename it, or give yours another name"
    assert stage.status()["state"] == "failed"
    assert sentence in stage.status()["conditions"][0]["message"]
    assert [(each.reason, each.message) for each in stage.told] == [("OwnershipConflict", sentence)]

    api_cluster.kubectl("delete", "service", FRONTEND.name, "-n", stage.namespace)
    await stage.until("g", lambda _: _.is_successful("g"))
    assert (await stage.service()).controller_uid is not None


async def test_an_object_that_somebody_put_in_the_place_of_ours_stays_theirs(
    stage: Meanwhile, api_cluster: ApiCluster
) -> None:
    def act() -> None:
        api_cluster.kubectl("delete", "service", FRONTEND.name, "-n", stage.namespace)
        api_cluster.apply(a_service([{"name": "web", "port": 81}]), namespace=stage.namespace)

    await stage.until("g", lambda _: _.is_successful("g"))
    api_cluster.kubectl("label", "service", FRONTEND.name, "nvidia.com/dynamo-component=x", "--overwrite", *at(stage))
    stage.before_service = act
    await stage.pass_("g")

    kept = await stage.service()
    assert [each["name"] for each in kept.document["spec"]["ports"]] == ["web"]
    assert (kept.controller_uid, kept.applied) == (None, {})
    assert "OwnershipConflict" in [each.reason for each in stage.told]


async def test_a_status_does_not_land_on_a_graph_that_took_the_name(stage: Meanwhile, api_cluster: ApiCluster) -> None:
    """Such a status would call the new graph ready before anything of it exists."""

    def act() -> None:
        api_cluster.kubectl("delete", GRAPHS, "g", *at(stage))
        api_cluster.apply(a_graph_document(a_component("Other", "frontend")), namespace=stage.namespace)

    await stage.until("g", lambda _: _.is_successful("g"))
    api_cluster.kubectl("label", "service", FRONTEND.name, "nvidia.com/dynamo-component=x", "--overwrite", *at(stage))
    api_cluster.kubectl(
        "patch", GRAPHS, "g", "--type=merge", "-p", '{"status":null}', "--subresource=status", *at(stage)
    )
    stage.before_service = act
    await stage.pass_("g")

    live = await stage.kube.get(Ref(GRAPH, stage.namespace, "g"))
    assert live is not None
    assert live.document["spec"]["components"][0]["name"] == "Other"
    assert "components" not in (live.document.get("status") or {})


def at(stage: Stage) -> tuple[str, str]:
    return "-n", stage.namespace


POLICY = {
    "apiVersion": "admissionregistration.k8s.io/v1",
    "kind": "ValidatingAdmissionPolicy",
    "spec": {
        "failurePolicy": "Fail",
        "matchConstraints": {
            "resourceRules": [
                {
                    "apiGroups": ["nvidia.com"],
                    "apiVersions": ["*"],
                    "operations": ["DELETE"],
                    "resources": ["dynamographdeployments"],
                }
            ]
        },
        "validations": [{"expression": "false", "message": "kept for a while"}],
    },
}


@contextlib.contextmanager
def kept_graphs(cluster: ApiCluster, namespace: str) -> Iterator[None]:
    """Nobody may delete graphs of a namespace, its end included."""
    name = f"keep-{namespace}"
    selector = {"matchLabels": {"kubernetes.io/metadata.name": namespace}}
    binding = {
        "apiVersion": POLICY["apiVersion"],
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": name},
        "spec": {
            "policyName": name,
            "validationActions": ["Deny"],
            "matchResources": {"namespaceSelector": selector},
        },
    }
    cluster.apply({**POLICY, "metadata": {"name": name}}, binding)
    try:
        yield
    finally:
        cluster.kubectl("delete", "validatingadmissionpolicybinding,validatingadmissionpolicy", name)


@pytest.mark.timeout(180, func_only=True)
def test_a_namespace_that_is_being_deleted_is_left_alone_and_ends(api_cluster: ApiCluster, tmp_path: Path) -> None:
    """Graphs stay a while longer than their children, as they may when somebody's finalizer holds them."""
    namespace = f"ending-{time.monotonic_ns()}"
    at_it = ("-n", namespace)
    api_cluster.kubectl("create", "namespace", namespace)
    settings = {"namespace": {"restricted": namespace}}
    model = {
        "apiVersion": "nvidia.com/v1alpha1",
        "kind": "DynamoModel",
        "metadata": {"name": "m"},
        "spec": {
            "modelName": "lora",
            "baseModelName": "base",
            "modelType": "lora",
            "source": {"uri": "hf://org/lora"},
        },
    }
    with running_operator(api_cluster.kubeconfig, tmp_path, namespace=namespace, settings=settings) as operator:
        graph = a_graph_document(a_component("Frontend", "frontend"), a_component("Worker"))
        api_cluster.apply(graph, model, namespace=namespace)
        until(lambda: len(api_cluster.get("deployments", *at_it)["items"]) == 2, operator)
        until(lambda: bool(api_cluster.get("dynamomodels", "m", *at_it)["metadata"].get("finalizers")), operator)
        with kept_graphs(api_cluster, namespace):
            until(lambda: _is_kept(api_cluster, namespace), operator)
            mark = api_cluster.audit.mark()
            api_cluster.kubectl("delete", "namespace", namespace, "--wait=false")
            until(lambda: "namespace_ending" in operator.said(), operator)
            until(lambda: not api_cluster.get("deployments,services,dynamomodels", *at_it)["items"], operator)
            # Whatever still wants a pass has had the time for it: the first retries come after half a second.
            wait_for_quiet(api_cluster, namespace)
            refused = [
                f"{call.verb} {call.resource} {call.name}"
                for call in api_cluster.audit.calls(mark)
                if call.agent.startswith(USER_AGENT) and call.namespace == namespace and call.status == 403
                if call.resource != "leases"  # this operator's own, in the namespace that it is restricted to
            ]
            assert len(refused) <= 2 * CONCURRENT_WRITES, refused
            assert operator.said().count("namespace_ending") == 1
            assert "reconcile_failed" not in operator.said()
            assert "event_not_written" not in operator.said()
        until(lambda: namespace not in api_cluster.kubectl("get", "namespaces", "-o", "name"), operator)
        assert "crashed" not in operator.said()


CONCURRENT_WRITES = 8
QUIET_S = 3.0


def wait_for_quiet(cluster: ApiCluster, namespace: str) -> None:
    """Until the operator has written nothing there for a while."""
    began_s = changed_s = time.monotonic()
    mark = cluster.audit.mark()
    while time.monotonic() - changed_s < QUIET_S:
        calls = [
            call
            for call in cluster.audit.calls(mark)
            if call.agent.startswith(USER_AGENT) and call.namespace == namespace and call.is_write
        ]
        if [call for call in calls if call.resource != "leases"]:
            mark, changed_s = cluster.audit.mark(), time.monotonic()
        assert time.monotonic() - began_s < DEADLINE_S
        time.sleep(0.1)  # a quiet time is a time: nothing else tells of it


def _is_kept(cluster: ApiCluster, namespace: str) -> bool:
    """Policies are in force a moment after they are written."""
    try:
        cluster.kubectl("delete", GRAPHS, "g", "--dry-run=server", "-n", namespace)
    except ClusterError as error:
        return "kept for a while" in str(error)
    return False


class Replicas:
    """Every count that the workers' Deployment ever had, as a watch tells."""

    def __init__(self, http: httpx2.AsyncClient, namespace: str) -> None:
        self._http = http
        self._path = f"/apis/apps/v1/namespaces/{namespace}/deployments"
        self.seen: list[int] = []

    async def watch(self, *, is_watching: asyncio.Event) -> None:
        listed = (await self._http.get(self._path)).json()
        query = {"watch": "true", "resourceVersion": listed["metadata"]["resourceVersion"]}
        async with self._http.stream("GET", self._path, params=query, timeout=None) as answer:
            is_watching.set()
            async for line in answer.aiter_lines():
                found = json.loads(line)["object"]
                if found["metadata"]["name"].startswith(ADAPTER):
                    self.seen.append(found["spec"]["replicas"])


@pytest.mark.timeout(180, func_only=True)
async def test_edits_of_the_graph_past_the_webhook_never_scale_what_an_adapter_owns(
    api_cluster: ApiCluster, api_namespace: str, tmp_path: Path
) -> None:
    """A manifest with an old number is applied again and again while the adapter is scaled up, one by one."""

    def graph(edit: int) -> Document:
        worker = a_component("Worker", scalingAdapter={}, replicas=1)
        # An annotation of the frontend, so that every edit is one and no worker is replaced.
        template = {"metadata": {"annotations": {"edit": str(edit)}}}
        return a_graph_document(a_component("Frontend", "frontend", template=template), worker)

    def apply(edit: int) -> None:
        api_cluster.apply(graph(edit), namespace=api_namespace)

    def counted() -> int:
        items = api_cluster.get("deployments", "-n", api_namespace)["items"]
        return next((each["spec"]["replicas"] for each in items if each["metadata"]["name"].startswith(ADAPTER)), 0)

    def has_edit(edit: int) -> bool:
        deployment = api_cluster.get("deployment", "g-frontend", "-n", api_namespace)
        return bool(deployment["spec"]["template"]["metadata"]["annotations"].get("edit") == str(edit))

    settings = {"namespace": {"restricted": api_namespace}}
    async with raw_http(api_cluster.kubeconfig, timeout_s=10) as http:
        with running_operator(api_cluster.kubeconfig, tmp_path, namespace=api_namespace, settings=settings) as operator:
            await asyncio.to_thread(apply, 0)
            await asyncio.to_thread(until, lambda: counted() == 1, operator)
            replicas, is_watching = Replicas(http, api_namespace), asyncio.Event()
            watching = asyncio.create_task(replicas.watch(is_watching=is_watching))
            await is_watching.wait()
            for count in range(2, 8):
                words = ("scale", f"dgdsa/{ADAPTER}", f"--replicas={count}", "-n", api_namespace)
                await asyncio.to_thread(api_cluster.kubectl, *words)
                await asyncio.to_thread(apply, count)
                await asyncio.to_thread(until, lambda edit=count: has_edit(edit), operator)  # type: ignore[misc]
            await asyncio.to_thread(until, lambda: counted() == 7, operator)
            async with asyncio.timeout(DEADLINE_S):
                while 7 not in replicas.seen:  # noqa: ASYNC110  the watch has no event to wait for
                    await asyncio.sleep(0.05)
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)

    assert replicas.seen == sorted(replicas.seen), replicas.seen
    assert set(replicas.seen) <= set(range(1, 8))
