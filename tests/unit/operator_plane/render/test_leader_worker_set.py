"""LeaderWorkerSets: the object, its Service, and where there is none."""

from __future__ import annotations

import re

import pytest

from dynamo_operator.api import parse_component_deployment
from dynamo_operator.render import RenderError, render, render_component_deployment
from dynamo_operator.render.multinode import needs_key_pair
from tests.unit.operator_plane.render.factories import Document, a_component, a_context, a_graph, rendered
from tests.unit.operator_plane.render.multinode import LEADER, WORKER, a_set, annotated, several_nodes, template

GROUPS = {"has_leader_worker_sets": True}
QUEUE = "scheduling.volcano.sh/queue-name"


def test_a_set_says_everything_that_its_webhook_would_add() -> None:
    spec = a_set(several_nodes("vllm", nodes=3, replicas=2))["spec"]
    groups = spec.pop("leaderWorkerTemplate")
    assert spec == {
        "replicas": 2,
        "startupPolicy": "LeaderCreated",
        "networkConfig": {"subdomainPolicy": "Shared"},
        "rolloutStrategy": {
            "type": "RollingUpdate",
            "rollingUpdateConfiguration": {"maxUnavailable": 1, "maxSurge": 0, "partition": 0},
        },
    }
    assert (groups["size"], groups["restartPolicy"]) == (3, "RecreateGroupOnPodRestart")


def test_a_set_is_named_after_its_component_deployment() -> None:
    graph = a_graph(several_nodes("vllm"), name="a.b")
    (owner,) = rendered(graph, "DynamoComponentDeployment", **GROUPS)
    (found,) = rendered(graph, "LeaderWorkerSet", **GROUPS)
    assert found["metadata"]["name"] == f"{owner['metadata']['name'].replace('.', '-')}-0"
    assert found["metadata"]["ownerReferences"][0]["name"] == owner["metadata"]["name"]
    assert not rendered(graph, "Deployment", **GROUPS)


@pytest.mark.parametrize(("length", "fits"), [(36, True), (37, False)])
def test_a_set_whose_pods_could_not_be_labelled_is_refused(length: int, fits: bool) -> None:
    # `<graph>-w-<generation>-0` is 13 characters longer than the graph's name.
    graph = a_graph({**several_nodes("vllm"), "name": "w"}, name="g" * length)
    if fits:
        (found,) = rendered(graph, "LeaderWorkerSet", **GROUPS)
        assert len(found["metadata"]["name"]) == 49
    else:
        with pytest.raises(RenderError, match=r"component w: its LeaderWorkerSet is .*50 characters.*allowed: 49"):
            render(graph, a_context(**GROUPS))


def test_pods_of_a_group_have_roles_and_no_selector_of_a_deployment() -> None:
    for role, name in ((LEADER, "leader"), (WORKER, "worker")):
        labels = template(several_nodes("vllm"), role)["metadata"]["labels"]
        assert labels["role"] == name
        assert labels["nvidia.com/dynamo-component"] == "Worker"
        assert "nvidia.com/selector" not in labels


@pytest.mark.parametrize(
    ("component", "leads_to"),
    [
        pytest.param(several_nodes("vllm", "--tensor-parallel-size", "16"), "leader", id="one-engine"),
        pytest.param(several_nodes("sglang"), "leader", id="sglang"),
        pytest.param(several_nodes(None), "leader", id="nobody-known"),
        pytest.param(several_nodes("vllm", "--data-parallel-size", "16"), None, id="every-node-serves"),
        pytest.param(
            several_nodes("vllm", main={"command": None, "args": ["python3 -m dynamo.vllm -dp 16"]}),
            None,
            id="every-node-serves-by-a-script",
        ),
    ],
)
def test_a_groups_service_leads_to_the_pods_that_serve(component: Document, leads_to: str | None) -> None:
    main = component["podTemplate"]["spec"]["containers"][0]
    component["podTemplate"]["spec"]["containers"][0] = {key: each for key, each in main.items() if each is not None}
    (service,) = rendered(a_graph(component), "Service", **GROUPS)
    assert service["spec"]["selector"].get("role") == leads_to


def test_a_deployments_service_knows_no_roles() -> None:
    (service,) = rendered(a_graph(), "Service", **GROUPS)
    assert "role" not in service["spec"]["selector"]


def test_several_nodes_without_an_orchestrator_are_refused_by_name() -> None:
    with pytest.raises(RenderError, match=re.escape("component Worker: multinode with 4 nodes; it needs Leader")):
        render(a_graph(several_nodes("vllm", nodes=4)), a_context())


def test_only_graphs_with_several_nodes_get_the_waiting_script() -> None:
    multinode = a_graph(several_nodes("vllm"), {**several_nodes("vllm"), "name": "Other"})
    (script,) = rendered(multinode, "ConfigMap", **GROUPS)
    assert script["metadata"]["ownerReferences"][0]["kind"] == "DynamoGraphDeployment"
    assert not rendered(a_graph(), "ConfigMap", **GROUPS)


def test_a_component_deployment_on_its_own_brings_its_script() -> None:
    document = {
        "apiVersion": "nvidia.com/v1beta1",
        "kind": "DynamoComponentDeployment",
        "metadata": {"name": "alone"},
        "spec": {**several_nodes("vllm", "-tp", "16"), "backendFramework": "vllm"},
    }
    objects = render_component_deployment(parse_component_deployment(document), a_context(**GROUPS))
    by_kind = {each["kind"]: each for each in objects}
    assert by_kind["LeaderWorkerSet"]["metadata"]["name"] == "alone-0"
    worker = by_kind["LeaderWorkerSet"]["spec"]["leaderWorkerTemplate"][WORKER]
    (volume,) = (each for each in worker["spec"]["volumes"] if "configMap" in each)
    assert volume["configMap"]["name"] == by_kind["ConfigMap"]["metadata"]["name"]


def test_volcano_places_groups_where_it_is_the_gang_scheduler() -> None:
    component = several_nodes("vllm")
    volcano = {"gang_scheduler": "volcano"}
    queued = {"annotations_": {"nvidia.com/volcano-queue": "gold"}}
    found = a_set(component, context=volcano, **queued)
    assert found["metadata"]["annotations"] == {QUEUE: "gold"}
    for role in (LEADER, WORKER):
        assert found["spec"]["leaderWorkerTemplate"][role]["spec"]["schedulerName"] == "volcano"
    plain = a_set(component, **queued)
    assert "annotations" not in plain["metadata"]
    assert "schedulerName" not in plain["spec"]["leaderWorkerTemplate"][LEADER]["spec"]


def test_only_groups_are_told_the_graphs_queue() -> None:
    queue = "nvidia.com/volcano-queue"
    graph = a_graph(a_component("One"), several_nodes("vllm"), annotations_={queue: "gold"})
    one, several = rendered(graph, "DynamoComponentDeployment", **GROUPS)
    assert queue not in one["spec"]["podTemplate"]["metadata"]["annotations"]
    assert several["spec"]["podTemplate"]["metadata"]["annotations"][queue] == "gold"


def test_a_scheduler_of_the_users_stays() -> None:
    component = several_nodes("vllm", pod={"schedulerName": "mine"})
    pod = template(component, WORKER, context={"gang_scheduler": "volcano"})["spec"]
    assert pod["schedulerName"] == "mine"


def test_engines_with_standbys_are_told_their_place_too() -> None:
    component = several_nodes(
        "vllm",
        "--tensor-parallel-size",
        "16",
        experimental={"gpuMemoryService": {}, "failover": {}},
        template=annotated(dynamo_kube_discovery_mode="container"),
    )
    engines = template(component, WORKER)["spec"]["containers"]
    assert [each["name"] for each in engines] == ["engine-0", "engine-1"]
    assert all("--headless" in each["args"] for each in engines)
    ports = [each["args"][each["args"].index("--master-port") + 1] for each in engines]
    assert ports == ["29500", "29600"]


@pytest.mark.parametrize(
    ("component", "needed"),
    [
        pytest.param(several_nodes("trtllm"), True, id="several-nodes"),
        pytest.param(several_nodes("vllm"), False, id="another-engine"),
        pytest.param(a_component(main={"command": ["python3", "-m", "dynamo.trtllm"]}), False, id="one-node"),
    ],
)
def test_a_key_pair_is_needed_by_mpi_only(component: Document, needed: bool) -> None:
    (document,) = rendered(a_graph(component), "DynamoComponentDeployment", **GROUPS)
    assert needs_key_pair(parse_component_deployment(document)) is needed
