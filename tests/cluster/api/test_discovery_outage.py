"""The API server is away: serving goes on with what is known, and newcomers join once it is back."""

from __future__ import annotations

import os
import time
from pathlib import Path

import httpx
import pytest

from tests.cluster.api.discovery_stage import DiscoveryStage
from tests.cluster.api.test_discovery_processes import MODEL, WORKER, own_address
from tests.cluster.local.api_only import ApiCluster, running_api_cluster
from tests.cluster.local.control_plane import start_api_server
from tests.cluster.local.processes import Processes
from tests.cluster.settings import Settings
from tests.stack import running_stack, wait_until

OUTAGE_S = float(os.environ.get("DYNAMO_OUTAGE_S", "10"))
"""600 for the whole claim: ten minutes."""


@pytest.mark.slow
@pytest.mark.timeout(OUTAGE_S + 180)
def test_serving_goes_on_while_the_api_server_is_away(
    cluster_settings: Settings, api_cluster: ApiCluster, tmp_path: Path
) -> None:
    address = own_address()
    with running_api_cluster(cluster_settings.cache) as cluster, cluster.namespace() as namespace:
        stage, processes = DiscoveryStage(cluster, namespace), Processes(cluster.folder, die_with_us=True)
        first = stage.add_pod("w0")
        stage.set_slice(first, address)
        env = {
            "DYN_DISCOVERY_BACKEND": "kubernetes",
            "KUBECONFIG": str(cluster.kubeconfig),
            "NO_PROXY": "127.0.0.1",
            "POD_NAMESPACE": namespace,
            "POD_UID": first.uid,
            "DYN_TCP_RPC_HOST": address,
            "DYN_SYSTEM_HOST": "0.0.0.0",
            "DYN_NAMESPACE": "default-agg",
            "DYN_NAMESPACE_PREFIX": "default-agg",
            "DYN_COMPONENT": "worker",
        }
        with running_stack(tmp_path, [WORKER], env=env) as stack:
            processes.stop("kube-apiserver")
            failed, answered = _ask_for(OUTAGE_S, stack.url)
            start_api_server(cluster.site, processes)  # etcd still runs
            second = stage.add_pod("w1")
            stage.set_slice(second, address)
            stack.add_worker(WORKER, {"POD_UID": second.uid})
            joined_s = wait_until(lambda: stack.ready_workers(MODEL) == 2, "the newcomer is seen", deadline_s=60)

    print(f"{answered} answered in {OUTAGE_S:.0f} s without an API server; a newcomer was seen after {joined_s:.1f} s")
    assert failed == []
    assert answered > OUTAGE_S


def _ask_for(duration_s: float, url: str) -> tuple[list[str], int]:
    failed, answered, end = [], 0, time.monotonic() + duration_s
    with httpx.Client(base_url=url, timeout=20) as client:
        while time.monotonic() < end:
            answer = client.post("/v1/completions", json={"model": MODEL, "prompt": "x", "max_tokens": 64})
            if answer.status_code == 200:
                answered += 1
            else:
                failed.append(answer.text)
    return failed, answered
