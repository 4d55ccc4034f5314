"""The commands for clusters against a real API server. Objects and their status are set here: no operator runs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster.api.fake_kubelet import own_address, serving, write_kubelet_certificate
from tests.cluster.local.api_only import ApiCluster

DYNAMO = Path(sys.executable).with_name("dynamo")
EXAMPLE = Path(__file__).parents[3] / "examples" / "disagg.yaml"
MANY = """\
vllm:num_requests_running{model_name="m"} 3
vllm:num_requests_waiting{model_name="m"} 1
vllm:kv_cache_usage_perc{model_name="m"} 0.25
"""


@dataclass(frozen=True)
class Shop:
    """A namespace with one graph, and the program pointed at it."""

    cluster: ApiCluster
    namespace: str
    folder: Path

    def dynamo(self, *arguments: str | Path, program: str = "dynamo", **env: str) -> subprocess.CompletedProcess[str]:
        plain = {"PATH": os.environ["PATH"], "HOME": str(self.folder), "XDG_STATE_HOME": str(self.folder / "state")}
        words = [DYNAMO.with_name(program), *arguments]
        whole = {**plain, "KUBECONFIG": str(self.cluster.kubeconfig), **env}
        return subprocess.run(words, env=whole, capture_output=True, text=True, timeout=60, check=False)

    def here(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        return self.dynamo(*arguments, "-n", self.namespace)

    def set_status(self, plural: str, name: str, status: dict[str, Any]) -> None:
        patch = json.dumps({"status": status})
        where = ("-n", self.namespace, "--subresource=status", "--type=merge", "-p", patch)
        self.cluster.kubectl("patch", plural, name, *where)

    def add_pod(self, name: str, component: str, port: int, address: str, node: str | None = None) -> None:
        labels = {
            "nvidia.com/dynamo-graph-deployment-name": "disagg",
            "nvidia.com/dynamo-component": component,
            "nvidia.com/dynamo-component-type": component,
        }
        main = {"name": "main", "image": "toy:1.5.0", "ports": [{"name": "system", "containerPort": port}]}
        spec: dict[str, Any] = {"containers": [main]}
        if node is not None:
            spec["nodeName"] = node
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": labels}, "spec": spec}
        self.cluster.apply(pod, namespace=self.namespace)
        ready = [{"type": "Ready", "status": "True"}]
        addresses = {"podIP": address, "podIPs": [{"ip": address}]}
        self.set_status("pods", name, {"phase": "Running", "conditions": ready, **addresses})


@pytest.fixture
def shop(api_cluster: ApiCluster, api_namespace: str, tmp_path: Path) -> Shop:
    api_cluster.kubectl("apply", "-n", api_namespace, "-f", EXAMPLE)
    shop = Shop(api_cluster, api_namespace, tmp_path)
    ready = {
        "type": "Ready",
        "status": "False",
        "reason": "some_resources_are_not_ready",
        "message": "decode: 0/1 ready",
    }
    shop.set_status(
        "dgd",
        "disagg",
        {
            "observedGeneration": 1,
            "state": "pending",
            "conditions": [{**ready, "lastTransitionTime": "2026-01-01T00:00:00Z"}],
            "components": {
                "Frontend": a_component_status(1),
                "prefill": a_component_status(1),
                "decode": a_component_status(0),
            },
        },
    )
    return shop


def a_component_status(ready: int) -> dict[str, Any]:
    counts = {"replicas": 1, "updatedReplicas": 1, "readyReplicas": ready, "availableReplicas": ready}
    return {"componentKind": "Deployment", "componentNames": ["d"], **counts}


def test_get_shows_what_the_status_says(shop: Shop) -> None:
    answer = shop.here("get")

    assert answer.returncode == 0, answer.stderr
    heading, row = answer.stdout.splitlines()
    assert heading.split() == ["NAME", "READY", "STATE", "COMPONENTS", "AGE"]
    assert row.split()[:3] == ["disagg", "False", "pending"]
    assert "Frontend 1/1, prefill 1/1, decode 0/1" in row
    assert "\033[" not in answer.stdout


@pytest.mark.parametrize("output", ["json", "yaml", "name", "wide"])
def test_get_prints_for_programs_too(shop: Shop, output: str) -> None:
    answer = shop.here("get", "dgd", "disagg", "-o", output)

    assert answer.returncode == 0, answer.stderr
    if output == "name":
        assert answer.stdout == "dynamographdeployment.nvidia.com/disagg\n"
    elif output == "wide":
        assert "decode: 0/1 ready" in answer.stdout
    else:
        found = json.loads(answer.stdout) if output == "json" else yaml.safe_load(answer.stdout)
        assert (found["kind"], found["status"]["state"]) == ("DynamoGraphDeployment", "pending")
        assert "managedFields" not in found["metadata"]


def test_get_all_lists_every_kind_that_has_objects(shop: Shop) -> None:
    adapter = {
        "apiVersion": "nvidia.com/v1beta1",
        "kind": "DynamoGraphDeploymentScalingAdapter",
        "metadata": {"name": "disagg-decode"},
        "spec": {"replicas": 1, "dgdRef": {"name": "disagg", "componentName": "decode"}},
    }
    shop.cluster.apply(adapter, namespace=shop.namespace)
    shop.add_pod("disagg-decode-0", "decode", 9090, own_address())

    everything = shop.here("get", "all").stdout
    workers = shop.here("get", "workers", "disagg").stdout

    assert all(line in everything.splitlines() for line in ("dgd", "dgdsa", "workers"))
    assert "disagg-decode-0" in workers
    assert f"\n{shop.namespace} " in shop.dynamo("get", "dgd", "-A").stdout


@pytest.mark.parametrize(
    ("arguments", "words", "hint"),
    [
        pytest.param(
            ["get", "dgd", "disag"], "there is no DynamoGraphDeployment 'disag'", "did you mean disagg?", id="name"
        ),
        pytest.param(["get", "dgx"], "unknown kind 'dgx'", "did you mean dgd?", id="kind"),
        pytest.param(["describe", "nothing"], "there is no DynamoGraphDeployment", "there are: disagg", id="describe"),
        pytest.param(["logs", "nothing"], "there is no DynamoGraphDeployment", "there are: disagg", id="logs"),
        pytest.param(["logs", "disagg"], "disagg has no pods", "dynamo describe disagg", id="no-pods"),
        pytest.param(["top"], "there are no workers", "dynamo get dgd -A", id="no-workers"),
        pytest.param(["get", "--context", "tset"], "has no context 'tset'", "did you mean test?", id="context"),
    ],
)
def test_a_mistake_is_one_line_and_what_to_do(shop: Shop, arguments: list[str], words: str, hint: str) -> None:
    answer = shop.here(*arguments)

    assert answer.returncode == 1
    first, second = answer.stderr.splitlines()
    assert first.startswith("error: ")
    assert words in first
    assert hint in second


def test_a_missing_right_is_named_with_the_way_to_check_it(shop: Shop) -> None:
    cluster = yaml.safe_load(shop.cluster.kubeconfig.read_text())
    shop.cluster.kubectl("create", "serviceaccount", "guest", "-n", shop.namespace)
    token = shop.cluster.kubectl("create", "token", "guest", "-n", shop.namespace).strip()
    for user in cluster["users"]:
        user["user"] = {"token": token}
    kubeconfig = shop.folder / "guest"
    kubeconfig.write_text(yaml.safe_dump(cluster))

    answer = shop.here("get", "--kubeconfig", kubeconfig)

    assert answer.returncode == 1
    assert "forbidden" in answer.stderr
    assert f"kubectl auth can-i list dynamographdeployments -n {shop.namespace}" in answer.stderr


def test_a_cluster_that_does_not_answer_is_named(shop: Shop) -> None:
    dead = shop.folder / "dead"
    dead.write_text(shop.cluster.kubeconfig.read_text().replace(shop.cluster.url, "https://127.0.0.1:1"))

    answer = shop.dynamo("get", "--kubeconfig", dead)

    assert answer.returncode == 1
    assert "the cluster at https://127.0.0.1:1 does not answer" in answer.stderr
    assert "Traceback" not in answer.stderr


def test_describe_tells_components_conditions_pods_and_events(shop: Shop) -> None:
    shop.add_pod("disagg-decode-0", "decode", 9090, own_address())
    event = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": "disagg.1"},
        "involvedObject": {"kind": "DynamoGraphDeployment", "name": "disagg", "namespace": shop.namespace},
        "reason": "Reconciling",
        "message": "decode is on its way",
        "type": "Normal",
        "lastTimestamp": "2026-01-01T00:00:00Z",
    }
    shop.cluster.apply(event, namespace=shop.namespace)

    text = shop.here("describe", "disagg").stdout

    assert "State:      pending" in text
    assert "decode: 0/1 ready" in text
    assert "disagg-decode-0" in text
    assert "decode is on its way" in text
    assert "some_resources_are_not_ready" in text


def test_a_graph_is_described_for_programs_and_by_the_name_that_kubectl_prints(shop: Shop) -> None:
    found = json.loads(shop.here("describe", "dgd/disagg", "-o", "json").stdout)
    same = yaml.safe_load(shop.here("describe", "dgd", "disagg", "-o", "yaml").stdout)
    listed = shop.here("get", "dgd/disagg", "-o", "name").stdout

    assert found["graph"]["status"]["state"] == "pending"
    assert same == found
    assert listed == "dynamographdeployment.nvidia.com/disagg\n"


def test_plan_compares_with_the_live_object_and_writes_nothing(shop: Shop) -> None:
    newer = shop.folder / "newer.yaml"
    newer.write_text(EXAMPLE.read_text().replace("image: dynamo:0.1.0", "image: dynamo:0.2.0"))
    before = shop.cluster.get("dgd", "disagg", "-n", shop.namespace)["metadata"]["resourceVersion"]

    same, changed, text = (
        shop.here("plan", "-f", EXAMPLE),
        shop.here("plan", "-f", newer, "-o", "json"),
        shop.here("plan", "-f", newer),
    )

    assert (same.returncode, changed.returncode) == (0, 2), same.stdout + same.stderr + changed.stderr
    (found,) = json.loads(changed.stdout)["plans"]
    assert found["kvCachesLost"] == 2
    assert found["steps"][0]["components"]["decode"]["serving"] == 0, "the status says that none is ready"
    assert "would change" in text.stdout
    assert shop.cluster.get("dgd", "disagg", "-n", shop.namespace)["metadata"]["resourceVersion"] == before


def test_plan_of_a_graph_that_is_not_there_creates_it(shop: Shop) -> None:
    other = shop.folder / "other.yaml"
    other.write_text(EXAMPLE.read_text().replace("name: disagg", "name: other"))

    answer = shop.here("plan", "-f", other)

    assert answer.returncode == 2
    assert f"DynamoGraphDeployment {shop.namespace}/other: would be created" in answer.stdout


def test_top_reads_workers_through_the_api_server(shop: Shop) -> None:
    with serving({"/metrics": MANY}) as port:
        shop.add_pod("disagg-decode-0", "decode", port, own_address())
        shop.add_pod("disagg-prefill-0", "prefill", 1, own_address())

        table = shop.here("top", "disagg", "--interval", "0.5")
        found = json.loads(shop.here("top", "-o", "json", "--interval", "0.5").stdout)

    assert table.returncode == 0, table.stderr
    row = next(line for line in table.stdout.splitlines() if line.startswith("disagg-decode-0"))
    assert row.split() == ["disagg-decode-0", "decode", "Running", "3", "1", "25%", *["-"] * 4]
    assert [each["worker"] for each in found] == ["disagg-decode-0", "disagg-prefill-0"]
    assert found[0]["figures"]["running"] == 3
    assert found[1]["figures"] is None, "a worker that does not answer is still listed"


def test_logs_come_from_the_graphs_pods_with_their_names(shop: Shop, tmp_path: Path) -> None:
    address = own_address()
    node = f"node-{shop.namespace}"
    place = f"/containerLogs/{shop.namespace}"
    pages = {f"{place}/disagg-decode-0/main": "one\ntwo\nthree\n", f"{place}/disagg-prefill-0/main": "four\n"}
    certificate = write_kubelet_certificate(shop.cluster.folder / "certificates", address, tmp_path / "kubelet.pem")
    with serving(pages, certificate) as port:
        shop.cluster.apply({"apiVersion": "v1", "kind": "Node", "metadata": {"name": node}})
        status = {
            "addresses": [{"type": "InternalIP", "address": address}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": port}},
        }
        shop.cluster.kubectl(
            "patch", "node", node, "--subresource=status", "--type=merge", "-p", json.dumps({"status": status})
        )
        try:
            for component in ("decode", "prefill"):
                shop.add_pod(f"disagg-{component}-0", component, 9090, address, node)

            everything, one = shop.here("logs", "disagg", "--tail", "2"), shop.here("logs", "disagg", "Decode")
            wrong = shop.here("logs", "disagg", "decoed")
            _follow_and_interrupt(shop)
            automatic = shop.dynamo("logs", "disagg", "--cluster", KUBECONFIG=str(_in_namespace(shop)))
        finally:
            shop.cluster.kubectl("delete", "node", node)

    assert everything.returncode == 0, everything.stderr
    assert everything.stdout == "disagg-decode-0 | two\ndisagg-decode-0 | three\ndisagg-prefill-0 | four\n"
    assert one.stdout == "one\ntwo\nthree\n"
    assert "did you mean decode?" in wrong.stderr
    assert "disagg-prefill-0 | four" in automatic.stdout


def test_the_kubectl_plug_in_is_the_same_program(shop: Shop) -> None:
    usage = shop.dynamo("get", "--help", program="kubectl-dynamo").stdout
    through = subprocess.run(
        [shop.cluster.kubectl_program, "dynamo", "get", "-n", shop.namespace],
        env={
            "PATH": f"{DYNAMO.parent}:{os.environ['PATH']}",
            "HOME": str(shop.folder),
            "KUBECONFIG": str(shop.cluster.kubeconfig),
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert usage.startswith("Usage: kubectl dynamo get")
    assert "disagg" in through.stdout


def _in_namespace(shop: Shop) -> Path:
    """A kubeconfig whose context names the namespace."""
    config = yaml.safe_load(shop.cluster.kubeconfig.read_text())
    for context in config["contexts"]:
        context["context"]["namespace"] = shop.namespace
    path = shop.folder / "placed"
    path.write_text(yaml.safe_dump(config))
    return path


def _follow_and_interrupt(shop: Shop) -> None:
    """Followed lines carry their pod's name, and Ctrl-C ends without a word."""
    env = {"PATH": os.environ["PATH"], "HOME": str(shop.folder), "KUBECONFIG": str(shop.cluster.kubeconfig)}
    # Tests that run in the background of a shell ignore SIGINT, and so would what they start.
    words = ["env", "--default-signal=INT", DYNAMO, "logs", "disagg", "decode", "-f", "-n", shop.namespace]
    with subprocess.Popen(words, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as follower:
        assert follower.stdout is not None
        assert [follower.stdout.readline() for _ in range(3)][-1] == "disagg-decode-0 | three\n"
        follower.send_signal(signal.SIGINT)
        _, errors = follower.communicate(timeout=20)
    assert (follower.returncode, errors) == (130, "")
