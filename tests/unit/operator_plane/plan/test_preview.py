from __future__ import annotations

import copy
from typing import Any

import pytest

from dynamo_operator.plan.preview import Preview, manifest_preview, preview
from dynamo_operator.render import RenderContext

PLAIN = RenderContext("shop", has_leader_worker_sets=True)


def a_graph(**components: dict[str, Any]) -> dict[str, Any]:
    """Frontend, prefill and decode unless given; each keyword is a component's own fields."""
    parts = components or {"frontend": {}, "prefill": {}, "decode": {}}
    return {
        "apiVersion": "nvidia.com/v1beta1",
        "kind": "DynamoGraphDeployment",
        "metadata": {"name": "agg"},
        "spec": {"components": [a_component(name, **fields) for name, fields in parts.items()]},
    }


def a_component(
    name: str, replicas: int = 4, image: str = "dynamo:1.5.0", gpus: int = 0, **more: Any
) -> dict[str, Any]:
    main: dict[str, Any] = {"name": "main", "image": image}
    if gpus:
        main["resources"] = {"limits": {"nvidia.com/gpu": str(gpus)}}
    annotations = more.pop("annotations", {})
    template = {"metadata": {"annotations": annotations}, "spec": {"containers": [main]}}
    return {"name": name, "type": name, "replicas": replicas, "podTemplate": template, **more}


def the_change(found: Preview, component: str) -> tuple[int, int]:
    each = next(each for each in found.components if each.component == component)
    return each.ends, each.starts


def test_the_same_manifest_changes_nothing() -> None:
    assert preview(a_graph(), a_graph(), PLAIN).is_empty


def test_a_worker_image_rolls_all_workers_and_says_why() -> None:
    found = preview(a_graph(), a_graph(frontend={}, prefill={"image": "dynamo:2.0.0"}, decode={}), PLAIN)

    assert {each.component for each in found.components} == {"prefill", "decode"}
    reasons = {each.component: " ".join(each.reasons) for each in found.components}
    assert 'image: "dynamo:1.5.0" -> "dynamo:2.0.0"' in reasons["prefill"]
    assert "all workers roll together, and prefill changed" in reasons["decode"]
    assert (found.caches_lost, found.workers_before) == (8, 8)


def test_new_worker_objects_are_named_after_their_generation_and_old_ones_go() -> None:
    found = preview(a_graph(), a_graph(frontend={}, prefill={"image": "dynamo:2.0.0"}, decode={}), PLAIN)

    made = {each.ref.name for each in found.objects if each.action == "create" and each.ref.kind.name == "Deployment"}
    gone = {each.ref.name for each in found.objects if each.action == "delete" and each.ref.kind.name == "Deployment"}
    assert len(made) == len(gone) == 2
    assert not made & gone


def test_a_worker_that_is_only_scaled_is_not_blamed_for_the_roll() -> None:
    found = preview(a_graph(), a_graph(frontend={}, prefill={"image": "dynamo:2.0.0"}, decode={"replicas": 5}), PLAIN)

    (decode,) = (each.reasons for each in found.components if each.component == "decode")
    assert decode[0].endswith("all workers roll together, and prefill changed")


def test_what_other_graphs_may_use_is_not_deleted() -> None:
    """A base model's Service belongs to all graphs that serve the model."""
    served = {"modelRef": {"name": "org/model"}}

    found = preview(a_graph(decode=served), a_graph(decode={}), PLAIN)

    assert not [each.ref for each in found.objects if each.action == "delete"]


def test_a_frontend_image_leaves_workers_and_their_caches_alone() -> None:
    found = preview(a_graph(), a_graph(frontend={"image": "dynamo:2.0.0"}, prefill={}, decode={}), PLAIN)

    assert [each.component for each in found.components] == ["frontend"]
    assert the_change(found, "frontend") == (4, 4)
    assert found.caches_lost == 0
    assert min(step.moments[0].serving for step in found.steps) == 3


@pytest.mark.parametrize(
    ("replicas", "moved", "lost"),
    [pytest.param(6, (0, 2), 0, id="up-loses-nothing"), pytest.param(1, (3, 0), 3, id="down-loses-what-ends")],
)
def test_scaling_starts_no_generation(replicas: int, moved: tuple[int, int], lost: int) -> None:
    found = preview(a_graph(decode={}), a_graph(decode={"replicas": replicas}), PLAIN)

    assert the_change(found, "decode") == moved
    assert found.caches_lost == lost
    assert not [each for each in found.objects if each.action != "change"]


def test_gpus_surge_only_as_far_as_the_limits_allow() -> None:
    free = {names: {"gpus": 2, "annotations": {}} for names in ("decode",)}
    tight = copy.deepcopy(free)
    limits = {
        "nvidia.com/deployment-rolling-update-max-surge": "0",
        "nvidia.com/deployment-rolling-update-max-unavailable": "1",
    }
    tight["decode"]["annotations"] = limits
    rolled = {"decode": {**free["decode"], "image": "dynamo:2.0.0"}}

    with_surge = preview(a_graph(**free), a_graph(**rolled), PLAIN)
    without = preview(a_graph(**tight), a_graph(decode={**tight["decode"], "image": "dynamo:2.0.0"}), PLAIN)

    assert (with_surge.gpus_before, with_surge.gpus_at_peak, with_surge.gpus_after) == (8, 10, 8)
    assert without.gpus_at_peak == 8


def test_replicas_that_do_not_serve_now_are_not_counted_on() -> None:
    found = preview(a_graph(decode={}), a_graph(decode={"image": "dynamo:2.0.0"}), PLAIN, {"decode": 2})

    assert found.steps[0].moments[0].serving == 2


def test_a_new_graph_is_created_whole() -> None:
    found = preview(None, a_graph(), PLAIN)

    assert {each.action for each in found.objects} == {"create"}
    assert {each.ref.kind.name for each in found.objects} > {"DynamoGraphDeployment", "Deployment", "Service"}
    assert the_change(found, "decode") == (0, 4)


def test_a_restart_replaces_pods_in_place() -> None:
    asked = a_graph()
    asked["spec"]["restart"] = {"id": "tonight"}

    found = preview(a_graph(), asked, PLAIN)

    assert the_change(found, "frontend") == (4, 4)
    assert {each.reasons for each in found.components} == {("restart 'tonight' is asked for",)}
    assert not [each for each in found.objects if each.action != "change"]


def test_the_environment_of_the_graph_reaches_every_component() -> None:
    with_env = a_graph()
    with_env["spec"]["env"] = [{"name": "DYN_LOG", "value": "debug"}]

    found = preview(a_graph(), with_env, PLAIN)

    assert {each.component for each in found.components} == {"frontend", "prefill", "decode"}
    assert all("spec.env" in " ".join(each.reasons) for each in found.components)


def test_grove_replaces_in_place_and_the_plan_says_that_it_estimates() -> None:
    grove = RenderContext("shop", has_grove=True)

    found = preview(a_graph(decode={}), a_graph(decode={"image": "dynamo:2.0.0"}), grove)

    assert the_change(found, "decode") == (4, 4)
    assert "PodCliqueSet" in {each.ref.kind.name for each in found.objects if each.action == "change"}
    assert any("Grove" in note for note in found.notes)


def test_scaling_on_grove_changes_members_and_not_their_set() -> None:
    grove = RenderContext("shop", has_grove=True)

    found = preview(a_graph(decode={}), a_graph(decode={"replicas": 6}), grove)

    changed = {f"{each.ref.kind.name} {each.ref.name}": each.fields for each in found.objects}
    assert changed.keys() == {"DynamoGraphDeployment agg", "PodClique agg-0-decode"}
    assert [str(each) for each in changed["PodClique agg-0-decode"]] == ["spec.replicas: 4 -> 6"]


def test_a_lone_component_deployment_rolls_in_place() -> None:
    def alone(image: str) -> dict[str, Any]:
        spec = a_component("decode", image=image)
        metadata = {"name": "solo"}
        return {
            "apiVersion": "nvidia.com/v1beta1",
            "kind": "DynamoComponentDeployment",
            "metadata": metadata,
            "spec": spec,
        }

    found = preview(alone("dynamo:1.5.0"), alone("dynamo:2.0.0"), PLAIN)

    assert the_change(found, "decode") == (4, 4)
    assert found.caches_lost == 4
    assert {each.action for each in found.objects} == {"change"}


def test_an_adapter_is_only_itself() -> None:
    def adapter(replicas: int) -> dict[str, Any]:
        return {
            "apiVersion": "nvidia.com/v1beta1",
            "kind": "DynamoGraphDeploymentScalingAdapter",
            "metadata": {"name": "agg-decode"},
            "spec": {"replicas": replicas},
        }

    assert manifest_preview(adapter(1), adapter(1), "shop").is_empty
    assert [str(each) for each in manifest_preview(adapter(1), adapter(2), "shop").fields] == ["spec.replicas: 1 -> 2"]


def test_a_claim_that_is_there_is_not_said_to_change() -> None:
    before, after = (a_graph(), a_graph())
    claim = '{"version":1,"spec":{"pvcs":[{"name":"cache","create":true,"size":"%s","storageClass":"s",'
    claim += '"volumeAccessMode":"ReadWriteMany"}]}}'
    for graph, size in ((before, "1Gi"), (after, "2Gi")):
        graph["metadata"]["annotations"] = {"nvidia.com/dgd-spec": claim % size}
    found = preview(before, after, RenderContext(namespace="ns"))
    assert not [each for each in found.objects if each.ref.kind.name == "PersistentVolumeClaim"]
