"""Rendering as a whole: purity, names, generations, and what is refused."""

from __future__ import annotations

import copy
import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynamo_operator.api import SpecError, parse_component_deployment, parse_graph, thaw
from dynamo_operator.convert import to_v1alpha1, to_v1beta1
from dynamo_operator.render import RenderError, render, render_component_deployment, worker_hash
from tests.shared import shared
from tests.unit.operator_plane.render import (
    test_backend,
    test_containers,
    test_elastic,
    test_failover,
    test_grove,
    test_grove_metadata,
    test_grove_placement,
    test_ingress,
    test_leader_worker_set,
    test_multinode_engines,
    test_multinode_vllm,
    test_volumes,
)
from tests.unit.operator_plane.render.corpus import CONTEXT, Case, cases, graph_of, load
from tests.unit.operator_plane.render.documented import documented_rows
from tests.unit.operator_plane.render.factories import (
    a_component,
    a_context,
    a_graph,
    a_graph_document,
    env_of,
    pod_spec,
    rendered,
)

CASES = [pytest.param(case, id=f"{case.pathway}/{case.manifest}") for case in cases()]


@pytest.mark.parametrize("case", CASES)
def test_rendering_leaves_its_input_alone_and_repeats_itself(case: Case) -> None:
    document = next(each for each in load(case.oracle) if each["kind"] == "DynamoGraphDeployment")
    before = copy.deepcopy(document)
    first = render(parse_graph(document), case.context)
    assert document == before
    assert render(parse_graph(document), case.context) == first
    assert json.loads(json.dumps(first)) == list(first)


@pytest.mark.parametrize("case", CASES)
def test_names_and_label_values_fit(case: Case) -> None:
    for document in render(graph_of(case), case.context):
        metadata = document["metadata"]
        assert len(metadata["name"]) <= 63
        assert all(len(value) <= 63 for value in metadata.get("labels", {}).values())


def test_what_upstream_admits_renders_or_is_refused_by_name() -> None:
    refused = {}
    for case in load(shared("corpus/admission/verdicts.yaml"))[0]:
        manifest = case["manifest"]
        if case["verdict"] == "accepted" and manifest["kind"] == "DynamoGraphDeployment":
            try:
                render(parse_graph(to_v1beta1(manifest)), CONTEXT)
            except RenderError as error:
                refused[case["case"]] = error.component in str(manifest)
            except SpecError as error:
                refused[case["case"]] = error.path == "spec.env[0].name"
    assert all(refused.values())
    assert len(refused) == 4  # two with names too long, one multinode, one variable without a name


def test_rendered_objects_share_nothing() -> None:
    documents = render(a_graph(), a_context())
    before = copy.deepcopy(documents)
    for document in documents:
        document["metadata"]["labels"]["touched"] = "yes"
    assert [{**each, "metadata": {**each["metadata"], "labels": None}} for each in documents] == [
        {**each, "metadata": {**each["metadata"], "labels": None}} for each in before
    ]


@pytest.mark.parametrize(
    ("component", "spec", "found"),
    [
        pytest.param({"multinode": {}}, {}, "Worker: multinode with 2 nodes", id="multinode"),
        pytest.param(
            {"experimental": {"checkpoint": {"enabled": True}}}, {}, "Worker: experimental.checkpoint", id="checkpoint"
        ),
        pytest.param(
            {"experimental": {"gpuMemoryService": {"mode": "InterPod"}}}, {}, "Worker: mode InterPod", id="across-pods"
        ),
        pytest.param(
            {"experimental": {"gpuMemoryService": {}}}, {}, "Worker: nvidia.com/gpu is None", id="no-gpus-to-share"
        ),
        pytest.param(
            {"experimental": {"failover": {}}},
            {},
            "Worker: experimental.failover is set; it needs",
            id="failover-alone",
        ),
        pytest.param(
            {}, {"experimental": {"kvTransferPolicy": {"domain": "rack"}}}, "g: experimental.kvTransfer", id="topology"
        ),
        pytest.param(
            {"main": {"command": ["python3", "-m", "dynamo.vllm"]}},
            {"backendFramework": "sglang"},
            "Worker: its command runs dynamo.vllm; the graph's framework is sglang",
            id="contradicting-engine",
        ),
        pytest.param(
            {"main": {"command": ["sh", "-c"], "args": ["python3 -m dynamo.vllm & python3 -m dynamo.sglang"]}},
            {},
            "Worker: its command runs dynamo.vllm and dynamo.sglang; state",
            id="two-engines",
        ),
        pytest.param(
            {"template": {"metadata": {"annotations": {"nvidia.com/deployment-strategy": "Both"}}}},
            {},
            "Worker: annotation nvidia.com/deployment-strategy is 'Both'",
            id="strategy",
        ),
    ],
)
def test_what_a_deployment_cannot_do_is_refused_by_name(
    component: dict[str, object], spec: dict[str, object], found: str
) -> None:
    with pytest.raises(RenderError, match=re.escape(found)):
        render(a_graph(a_component(**component), **spec), a_context())


@pytest.mark.parametrize(
    ("graph", "component", "namespace"),
    [
        pytest.param("g" * 40, "w" * 15, "ns", id="name-with-the-generation"),
        pytest.param("g" * 40, "w", "n" * 30, id="runtime-namespace"),
    ],
)
def test_names_that_do_not_fit_are_refused(graph: str, component: str, namespace: str) -> None:
    with pytest.raises(RenderError, match=f"component {component}: .*characters.*allowed: 63"):
        render(a_graph(a_component(component), name=graph), a_context(namespace=namespace))


_LETTERS = st.text("abcXYZ019-.", min_size=1, max_size=60)


@given(_LETTERS, _LETTERS, _LETTERS)
def test_whatever_the_names_are_they_fit_or_are_refused(graph: str, component: str, namespace: str) -> None:
    try:
        documents = render(a_graph(a_component(component), name=graph), a_context(namespace=namespace))
    except RenderError:
        return
    services = [each for each in documents if each["kind"] == "Service"]
    assert all(len(each["metadata"]["name"]) <= 63 for each in services)
    values = [value for each in documents for value in each["metadata"].get("labels", {}).values()]
    assert all(len(value) <= 63 for value in values)
    assert not any("." in each["metadata"]["name"] for each in services)


def test_a_generation_changes_with_a_workers_pods_and_not_with_replicas_or_other_components() -> None:
    base = worker_hash(a_graph(a_component("Frontend", "frontend"), a_component()))
    assert base == worker_hash(a_graph(a_component("Frontend", "frontend", replicas=3), a_component(replicas=7)))
    changed_frontend = a_component("Frontend", "frontend", main={"args": ["--x"]})
    assert base == worker_hash(a_graph(changed_frontend, a_component()))
    assert base != worker_hash(a_graph(a_component(main={"args": ["--x"]})))
    assert base != worker_hash(a_graph(a_component(), env=[{"name": "A", "value": "1"}]))
    assert worker_hash(a_graph(a_component("Frontend", "frontend"))) is None


def test_a_generation_stays_when_a_client_of_the_other_version_writes_the_graph_back() -> None:
    main = {"resources": {"limits": {"nvidia.com/gpu": 8, "cpu": 1.5}}, "env": [{"name": "A", "value": ""}]}
    document = a_graph_document(a_component(main=main, sharedMemorySize=0), env=[{"name": "B", "value": ""}])
    written_back = to_v1beta1(to_v1alpha1(document))
    assert written_back["spec"] != document["spec"]
    assert worker_hash(parse_graph(written_back)) == worker_hash(parse_graph(document))


@given(st.text(max_size=12))
def test_a_generation_is_never_read_as_a_number(argument: str) -> None:
    hash8 = worker_hash(a_graph(a_component(main={"args": [argument]})))
    assert hash8 is not None
    assert re.fullmatch("[a-f][0-9a-f]{7}", hash8)


def test_all_workers_of_a_graph_share_a_generation() -> None:
    graph = a_graph(a_component("P", "prefill"), a_component("D", "decode", main={"args": ["x"]}))
    labels = [each["spec"]["template"]["metadata"]["labels"] for each in rendered(graph, "Deployment")]
    assert len({each["nvidia.com/dynamo-worker-hash"] for each in labels}) == 1


def test_a_component_deployment_on_its_own_gets_its_account() -> None:
    document = {
        "apiVersion": "nvidia.com/v1beta1",
        "kind": "DynamoComponentDeployment",
        "metadata": {"name": "alone"},
        "spec": thaw(a_component("Decode", "decode")),
    }
    objects = render_component_deployment(parse_component_deployment(document), a_context())
    kinds = [each["kind"] for each in objects]
    assert kinds == ["ServiceAccount", "Role", "RoleBinding", "Deployment", "Service"]
    pod = objects[3]["spec"]["template"]["spec"]
    assert pod["serviceAccountName"] == objects[0]["metadata"]["name"] == "alone-k8s-service-discovery"
    assert all(each["metadata"]["ownerReferences"][0]["name"] == "alone" for each in objects)


def test_a_planner_runs_with_the_account_that_has_its_rights() -> None:
    graph = a_graph(a_component("P", "planner", pod={"serviceAccountName": "mine"}))
    assert pod_spec(graph)["serviceAccountName"] == "planner-serviceaccount"


@pytest.mark.parametrize(
    ("types", "label"),
    [
        pytest.param({"componentType": "worker", "subComponentType": "custom"}, "custom", id="of-the-users"),
        pytest.param({"subComponentType": "custom"}, "custom", id="without-a-type"),
        pytest.param({"componentType": "worker", "subComponentType": "decode"}, "decode", id="a-role"),
        pytest.param({"componentType": "prefill", "subComponentType": "custom"}, "prefill", id="a-role-wins"),
        pytest.param({"componentType": "worker"}, None, id="none"),
    ],
)
def test_a_part_that_v1alpha1_names_is_a_label(types: dict[str, str], label: str | None) -> None:
    service = {**types, "extraPodSpec": {"mainContainer": {"image": "x:1.5.0"}}}
    document = {
        "apiVersion": "nvidia.com/v1alpha1",
        "kind": "DynamoGraphDeployment",
        "metadata": {"name": "g"},
        "spec": {"services": {"W": service}},
    }
    graph = parse_graph(to_v1beta1(document))
    for kind in ("Deployment", "Service"):
        (found,) = rendered(graph, kind)
        assert found["metadata"]["labels"].get("nvidia.com/dynamo-sub-component-type") == label


def test_the_shared_namespace_is_used_where_asked_for() -> None:
    graph = a_graph(a_component(globalDynamoNamespace=True))
    (service,) = rendered(graph, "Service")
    assert service["spec"]["selector"]["nvidia.com/dynamo-namespace"] == "dynamo"


def test_pull_secrets_of_the_images_registries_join_the_listed_ones() -> None:
    pod = {"imagePullSecrets": [{"name": "mine"}]}
    image = {"image": "registry.example:5000/team/engine:1.5.0"}
    known = {"registry.example:5000": ("mine", "theirs"), "": ("other",)}
    graph = a_graph(a_component(pod={**pod, "containers": [{"name": "main", **image}]}))
    assert pod_spec(graph, pull_secret_names=known)["imagePullSecrets"] == [{"name": "mine"}, {"name": "theirs"}]
    graph = a_graph(a_component(main={"image": "team/engine:1.5.0"}))
    assert pod_spec(graph, pull_secret_names=known)["imagePullSecrets"] == [{"name": "other"}]
    annotations = {"nvidia.com/disable-image-pull-secret-discovery": "true"}
    graph = a_graph(a_component(main=image), annotations_=annotations)
    assert "imagePullSecrets" not in pod_spec(graph, pull_secret_names=known)


def test_strategy_annotations_reach_the_deployment() -> None:
    annotations = {
        "nvidia.com/deployment-rolling-update-max-surge": "1",
        "nvidia.com/deployment-rolling-update-max-unavailable": "0",
    }
    graph = a_graph(a_component(template={"metadata": {"annotations": annotations}}))
    (deployment,) = rendered(graph, "Deployment")
    assert deployment["spec"]["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}
    left_empty = {"metadata": {"annotations": dict.fromkeys((*annotations, "nvidia.com/deployment-strategy"), "")}}
    (deployment,) = rendered(a_graph(a_component(template=left_empty)), "Deployment")
    limits = {"maxSurge": "25%", "maxUnavailable": "25%"}
    assert deployment["spec"]["strategy"] == {"type": "RollingUpdate", "rollingUpdate": limits}
    recreate = {"metadata": {"annotations": {"nvidia.com/deployment-strategy": "Recreate"}}}
    (deployment,) = rendered(a_graph(a_component(template=recreate)), "Deployment")
    assert deployment["spec"]["strategy"] == {"type": "Recreate"}


def test_users_cannot_break_the_labels_that_selectors_need() -> None:
    broken = {"nvidia.com/selector": "x", "nvidia.com/dynamo-component": "x", "nvidia.com/dynamo-namespace": "x"}
    graph = a_graph(a_component(template={"metadata": {"labels": broken}}))
    (deployment,) = rendered(graph, "Deployment")
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert deployment["spec"]["selector"]["matchLabels"].items() <= labels.items()
    (service,) = rendered(graph, "Service")
    assert service["spec"]["selector"].items() <= labels.items()


def test_metrics_can_be_turned_off() -> None:
    (deployment,) = rendered(a_graph(annotations_={"nvidia.com/enable-metrics": "false"}), "Deployment")
    assert "nvidia.com/metrics-enabled" not in deployment["spec"]["template"]["metadata"]["labels"]


def test_without_kubernetes_discovery_only_public_components_have_services() -> None:
    annotations = {"nvidia.com/dynamo-discovery-backend": "etcd"}
    graph = a_graph(a_component("F", "frontend"), a_component(), annotations_=annotations)
    assert [each["metadata"]["name"] for each in rendered(graph, "Service")] == ["g-f"]
    pod = pod_spec(graph)
    assert env_of(pod["containers"][0])["DYN_DISCOVERY_BACKEND"] == "etcd"
    assert pod["serviceAccountName"] == "g-k8s-service-discovery"


def test_components_with_one_model_share_its_service() -> None:
    model = {"name": "m"}
    graph = a_graph(a_component("P", "prefill", modelRef=model), a_component("D", "decode", modelRef=model))
    names = [each["metadata"]["name"] for each in rendered(graph, "Service")]
    assert len([name for name in names if name.startswith("dynamo-model-")]) == 1


def test_an_ingress_can_be_a_virtual_service() -> None:
    ingress = {
        "enabled": True,
        "hostPrefix": "p-",
        "host": "h",
        "useVirtualService": True,
        "virtualServiceGateway": "w",
    }
    payload = {"version": 1, "spec": {"services": {"F": {"ingress": ingress}}}}
    document = a_graph_document(a_component("F", "frontend"), annotations_={"nvidia.com/dgd-spec": json.dumps(payload)})
    (service,) = rendered(parse_graph(document), "VirtualService")
    assert service["spec"]["hosts"] == ["p-h.local"]
    assert service["spec"]["gateways"] == ["w"]


def test_each_difference_without_a_manifest_is_held_by_a_test() -> None:
    held_by = {row[-1] for row in documented_rows("S").values()}
    modules = (
        test_backend,
        test_containers,
        test_elastic,
        test_failover,
        test_grove,
        test_grove_metadata,
        test_grove_placement,
        test_ingress,
        test_leader_worker_set,
        test_multinode_engines,
        test_multinode_vllm,
        test_volumes,
    )
    assert held_by <= {*globals(), *(name for module in modules for name in dir(module))}
