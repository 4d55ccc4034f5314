"""A frontend and workers as processes that find each other through a real API server, as rendered pods do."""

from __future__ import annotations

import signal
import socket
from pathlib import Path

import httpx
import pytest

from tests.cluster.api.discovery_stage import DiscoveryStage
from tests.cluster.local.api_only import ApiCluster
from tests.stack import free_port, running_stack, wait_until

MODEL = "tiny"
WORKER = ["--model-name", MODEL, "--block-size", "16"]


def own_address() -> str:
    """Of this machine, but not the loopback's: slices may not name that."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            pytest.skip("this machine has no address besides the loopback's")
        return str(probe.getsockname()[0])


@pytest.mark.slow
def test_processes_find_each_other_and_a_drain_is_seen_at_once(
    api_cluster: ApiCluster, api_namespace: str, tmp_path: Path
) -> None:
    stage, address = DiscoveryStage(api_cluster, api_namespace), own_address()
    pod = stage.add_pod("w0")
    stage.set_slice(pod, address)
    env = {
        "DYN_DISCOVERY_BACKEND": "kubernetes",
        "KUBECONFIG": str(api_cluster.kubeconfig),
        "NO_PROXY": "127.0.0.1",
        "POD_NAMESPACE": api_namespace,
        "POD_UID": pod.uid,
        "DYN_TCP_RPC_HOST": address,
        "DYN_SYSTEM_HOST": "0.0.0.0",
        "DYN_SYSTEM_PORT": str(free_port()),
        "DYN_NAMESPACE": "default-agg",
        "DYN_NAMESPACE_WORKER_SUFFIX": "0a1b2c3d",
        "DYN_NAMESPACE_PREFIX": "default-agg",
        "DYN_NAMESPACE_PREFIX_STRICT": "true",
        "DYN_COMPONENT": "worker",
        "DYN_GRACEFUL_SHUTDOWN_GRACE_PERIOD_SECS": "2",
    }
    with running_stack(tmp_path, [WORKER], env=env) as stack:
        body = {"model": MODEL, "prompt": "x", "max_tokens": 2}
        answer = httpx.post(f"{stack.url}/v1/completions", json=body, timeout=30)
        health = httpx.get(f"{stack.url}/health").json()
        victim = stack.workers[0]
        victim.popen.send_signal(signal.SIGTERM)
        gone_s = wait_until(lambda: stack.ready_workers(MODEL) == 0, "the draining worker is gone", deadline_s=10)
        was_running = victim.popen.poll() is None
        code = victim.popen.wait(20)

    assert answer.status_code == 200
    (instance,) = health["instances"]
    assert (instance["name"], instance["namespace"], instance["component"]) == ("w0", "default-agg-0a1b2c3d", "worker")
    assert instance["transport"]["http"].startswith(f"http://{address}:")
    assert "problems" not in health
    assert gone_s < 1.5, "long before it stops taking requests"
    assert was_running
    assert code == 0
    assert stage.announcement("w0") is None


@pytest.mark.slow
def test_frontend_is_not_ready_until_it_has_seen_who_is_there(
    api_cluster: ApiCluster, api_namespace: str, tmp_path: Path
) -> None:
    """Nobody listens where its API server should be: it says so, and still ends when told to."""
    dead = tmp_path / "dead.yaml"
    dead.write_text(api_cluster.kubeconfig.read_text().replace(api_cluster.url, f"https://127.0.0.1:{free_port()}"))
    env = {"POD_NAMESPACE": api_namespace, "NO_PROXY": "127.0.0.1"}
    with running_stack(tmp_path / "file", [], env=env) as stack:
        port = free_port()
        env = {**stack.env, "DYN_DISCOVERY_BACKEND": "kubernetes", "KUBECONFIG": str(dead)}
        process = stack.add_frontend("blind", port, env)
        url = f"http://127.0.0.1:{port}"
        wait_until(lambda: "problems" in httpx.get(f"{url}/health").json(), "it says why", processes=[process])
        wait_until(
            lambda: "cannot be watched" in httpx.get(f"{url}/health").text, "it says what failed", processes=[process]
        )
        health = httpx.get(f"{url}/health")
        asked = httpx.post(f"{url}/v1/completions", json={"model": MODEL, "prompt": "x"})
        code = process.stop()

    assert (health.status_code, health.json()["stage"]) == (503, "discovery")
    assert asked.status_code == 503
    assert code == 0
