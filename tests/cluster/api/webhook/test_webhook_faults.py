"""The webhook dead, back, renewed under traffic and stripped of its CA, in front of a real API server."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import json
import threading
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
from lightkube.generic_resource import create_namespaced_resource

from dynamo_operator.kube.access import find_access
from dynamo_operator.kube.client import Client
from dynamo_operator.kube.connections import Connections
from dynamo_operator.kube.objects import SECRET, Ref
from dynamo_operator.webhook import CONVERTED_CRDS, webhook_configurations
from dynamo_operator.webhook.certificates import ANNOUNCEMENT, LIFETIME, RENEW_BEFORE
from dynamo_operator.webhook.custody import SecretCustody
from dynamo_operator.webhook.injection import inject
from tests.cluster.access import Access
from tests.cluster.api.webhook.conftest import Guarded
from tests.cluster.api.webhook.running import Facts, Running, running_server, settings, utc_now
from tests.cluster.commands import wait_until
from tests.cluster.errors import ClusterError
from tests.unit.operator_plane.validate.manifests import a_graph

GRAPHS = create_namespaced_resource("nvidia.com", "v1beta1", "DynamoGraphDeployment", "dynamographdeployments")
CONFIG_MAP = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "unrelated"}}


def own_settings(name: str, **fields: Any) -> Any:
    """A second installation beside the shared one: its own Secret and configurations."""
    names = {"validating_name": f"{name}-validating", "mutating_name": f"{name}-mutating"}
    return settings(secret_name=name, crd_names=(), **names, **fields)


@contextlib.contextmanager
def installed(cluster: Access, running: Running, name: str) -> Iterator[None]:
    configurations = webhook_configurations(running.reach, name)
    try:
        cluster.apply(*configurations)
        yield
    finally:
        for document in configurations:
            cluster.kubectl("delete", document["kind"].lower(), document["metadata"]["name"])


def reached(count: list[int], goal: int) -> bool:
    return count[0] >= goal


def is_admitted(cluster: Access, namespace: str) -> bool:
    with contextlib.suppress(ClusterError):
        cluster.kubectl("create", "--dry-run=server", "-n", namespace, "-f", "-", stdin=json.dumps(a_graph()))
        return True
    return False


def test_a_dead_webhook_blocks_only_our_writes_and_its_restart_ends_that(guarded: Guarded, namespace: str) -> None:
    cluster, facts = guarded.cluster, Facts()
    with contextlib.ExitStack() as stack:
        with running_server(cluster, own_settings("mortal"), facts) as running:
            stack.enter_context(installed(cluster, running, "mortal"))
            cluster.apply(a_graph(), namespace=namespace)
            port, trusted = running.server.port, running.server.trusted
        with pytest.raises(ClusterError, match=r'failed calling webhook "mdynamographdeployment\.kb\.io".*refused'):
            cluster.apply(a_graph(name="other"), namespace=namespace)
        cluster.apply(CONFIG_MAP, namespace=namespace)
        assert cluster.get("dynamographdeployments.v1alpha1.nvidia.com", "g", "-n", namespace)["spec"]["services"]
        status = json.dumps([{"op": "add", "path": "/status", "value": {"state": "pending"}}])
        cluster.kubectl("patch", "dgd", "g", "-n", namespace, "--subresource=status", "--type=json", "-p", status)
        cluster.kubectl("delete", "dgd", "g", "-n", namespace)
        with running_server(cluster, own_settings("mortal", port=port), facts) as again:
            assert again.server.trusted == trusted  # from the Secret: nothing needs to be injected anew
            cluster.apply(a_graph(name="other"), namespace=namespace)


def test_certificates_are_renewed_under_traffic_without_a_refused_write(guarded: Guarded, namespace: str) -> None:
    cluster = guarded.cluster
    clock = {"now": utc_now() - LIFETIME + RENEW_BEFORE - datetime.timedelta(hours=1)}
    with (
        running_server(cluster, own_settings("renewed"), Facts(), now=lambda: clock["now"]) as running,
        installed(cluster, running, "renewed"),
        cluster.client(namespace) as client,
    ):
        is_over, failures, admitted = threading.Event(), [], [0]

        def write() -> None:
            while not is_over.is_set():
                try:
                    client.create(GRAPHS(**a_graph()), dry_run=True)
                    admitted[0] += 1
                except Exception as error:  # every kind of failure counts
                    failures.append(error)

        writer = threading.Thread(target=write)
        writer.start()
        try:
            served = [running.server._upkeep._serving]
            for later in (datetime.timedelta(), ANNOUNCEMENT):
                clock["now"] = utc_now() + later
                running.call(running.server._upkeep.round())
                served.append(running.server._upkeep._serving)
                goal = admitted[0] + 20
                wait_until(partial(reached, admitted, goal), "20 more writes are admitted", deadline_s=60)
        finally:
            is_over.set()
            writer.join()
        assert not failures, failures[0]
        assert served[0] == served[1] != served[2]


def test_replicas_that_start_together_agree_on_one_certificate(guarded: Guarded) -> None:
    async def race() -> set[str]:
        client = Client(Connections(find_access(guarded.cluster.kubeconfig), timeout_s=10))
        ref = Ref(SECRET, "default", "raced")
        found = await asyncio.gather(*(SecretCustody(client, ref, ("w",), utc_now).current("") for _ in range(6)))
        await client.close()
        return {material.serving.certificate for material in found}

    assert len(guarded.running.call(race())) == 1


def test_a_removed_ca_comes_back(guarded: Guarded, namespace: str) -> None:
    cluster = guarded.cluster
    with (
        running_server(cluster, own_settings("stripped", check_interval_s=2.0), Facts()) as running,
        installed(cluster, running, "stripped"),
    ):
        path = "/webhooks/0/clientConfig/caBundle"
        removal = json.dumps([{"op": "remove", "path": path}])
        name = "mutatingwebhookconfiguration/stripped-mutating"
        stripped = json.loads(cluster.kubectl("patch", name, "--type=json", "-p", removal, "-o", "json"))
        assert "caBundle" not in stripped["webhooks"][0]["clientConfig"]
        wait_until(lambda: is_admitted(cluster, namespace), "the CA is back", deadline_s=30)


def test_a_crd_that_lost_its_ca_converts_again(guarded: Guarded, namespace: str) -> None:
    cluster = guarded.cluster
    cluster.apply(a_graph(), namespace=namespace)
    removal = json.dumps([{"op": "remove", "path": "/spec/conversion/webhook/clientConfig/caBundle"}])
    cluster.kubectl("patch", f"crd/{CONVERTED_CRDS[0]}", "--type=json", "-p", removal)

    async def inject_again() -> None:
        client = Client(Connections(find_access(cluster.kubeconfig), timeout_s=10))
        await inject(client, settings(), guarded.running.server.trusted)
        await client.close()

    guarded.running.call(inject_again())

    def converts() -> bool:
        with contextlib.suppress(ClusterError):
            cluster.get("dynamographdeployments.v1alpha1.nvidia.com", "g", "-n", namespace)
            return True
        return False

    wait_until(converts, "v1alpha1 can be read", deadline_s=30)
