"""What is edited in one version shows in the other, and what the edit did not touch comes back."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest

from dynamo_operator.convert import to_v1alpha1, to_v1beta1
from dynamo_operator.convert.preserved import preserved_spec
from tests.unit.operator_plane.convert.manifests import PAYLOADS, alpha_graph, beta_graph

SERVICE: dict[str, Any] = {
    "componentType": "worker",
    "subComponentType": "decode",
    "replicas": 2,
    "annotations": {"a": "b"},
    "dynamoNamespace": "old",
    "ingress": {"enabled": True, "host": "h"},
    "failover": {"enabled": False},
    "envs": [{"name": "A", "value": "1"}],
    "envFromSecret": "s",
    "resources": {"limits": {"gpu": "2", "gpuType": "gpu.intel.com/xe"}},
    "volumeMounts": [
        {"name": "m", "mountPoint": "/m"},
        {"name": "c", "mountPoint": "/c", "useAsCompilationCache": True},
    ],
    "livenessProbe": {"periodSeconds": 7},
    "frontendSidecar": {"image": "f:1"},
    "extraPodSpec": {"mainContainer": {"name": "engine", "image": "i:1", "env": [{"name": "B", "value": "2"}]}},
}


def edited_through_beta(edit: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    """SERVICE after a v1beta1 client changed its component."""
    stored = to_v1beta1(alpha_graph(w=SERVICE))
    edit(stored["spec"]["components"][0])
    service: dict[str, Any] = to_v1alpha1(stored)["spec"]["services"]["w"]
    return service


def main(component: dict[str, Any]) -> dict[str, Any]:
    container: dict[str, Any] = component["podTemplate"]["spec"]["containers"][0]
    assert container["name"] == "main"
    return container


def with_changes(**changes: Any) -> dict[str, Any]:
    changed = {**copy.deepcopy(SERVICE), **changes}
    return {key: value for key, value in changed.items() if value is not None}


OWN = SERVICE["extraPodSpec"]["mainContainer"]
EDITS = [
    pytest.param(lambda c: c.update(replicas=5), with_changes(replicas=5), id="replicas"),
    pytest.param(lambda c: c.update(type="prefill"), with_changes(subComponentType="prefill"), id="role"),
    pytest.param(lambda c: c.pop("replicas"), with_changes(replicas=None), id="removed-field"),
    pytest.param(
        lambda c: main(c).update(image="i:2"),
        with_changes(extraPodSpec={"mainContainer": {**OWN, "image": "i:2"}}),
        id="image",
    ),
    pytest.param(
        lambda c: main(c)["env"].append({"name": "C", "value": "3"}),
        with_changes(
            envs=[{"name": "A", "value": "1"}, {"name": "B", "value": "2"}, {"name": "C", "value": "3"}],
            extraPodSpec={"mainContainer": {"name": "engine", "image": "i:1"}},
        ),
        id="variables-lose-only-where-they-were-written",
    ),
    pytest.param(lambda c: main(c).pop("envFrom"), with_changes(envFromSecret=None), id="removed-secret-stays-removed"),
    pytest.param(
        lambda c: main(c)["resources"]["limits"].update({"gpu.intel.com/xe": "4"}),
        with_changes(resources={"limits": {"custom": {"gpu.intel.com/xe": "4"}}}),
        id="gpus",
    ),
    pytest.param(lambda c: main(c).pop("livenessProbe"), with_changes(livenessProbe=None), id="removed-probe"),
    pytest.param(
        lambda c: c["podTemplate"]["spec"]["containers"][1].update(image="f:2"),
        with_changes(frontendSidecar={"image": "f:2"}),
        id="sidecar-image",
    ),
    pytest.param(
        lambda c: c.update(experimental={"failover": {"numShadows": 1}}),
        with_changes(failover={"enabled": True, "numShadows": 1}),
        id="feature-switched-on",
    ),
]


@pytest.mark.parametrize(("edit", "expected"), EDITS)
def test_edit_through_v1beta1_changes_only_what_it_touches(
    edit: Callable[[dict[str, Any]], object], expected: dict[str, Any]
) -> None:
    assert edited_through_beta(edit) == expected


def test_sidecar_that_an_object_cannot_say_stays_a_container() -> None:
    service = edited_through_beta(lambda c: c["podTemplate"]["spec"]["containers"][1].update(tty=True))

    assert "frontendSidecar" not in service
    assert service["extraPodSpec"]["containers"] == [{"name": "sidecar-frontend", "image": "f:1", "tty": True}]


def test_promotion_does_not_override_a_type_edited_through_v1beta1() -> None:
    stored = to_v1beta1(alpha_graph(w={"componentType": "frontend", "subComponentType": "decode"}))
    stored["spec"]["components"][0]["type"] = "worker"

    assert to_v1beta1(to_v1alpha1(stored))["spec"] == stored["spec"]


WORDS_OF_TYPE = [
    pytest.param({"componentType": "prefill"}, id="a-role-as-type"),
    pytest.param({"componentType": "decode", "subComponentType": "other"}, id="a-role-as-type-beside-another-word"),
    pytest.param({"componentType": "frontend", "subComponentType": "decode"}, id="a-role-without-a-worker"),
    pytest.param({"componentType": "", "subComponentType": "decode"}, id="a-role-beside-an-empty-type"),
]


@pytest.mark.parametrize("words", WORDS_OF_TYPE)
def test_words_of_a_type_outlive_an_edit_of_another_field(words: dict[str, str]) -> None:
    stored = to_v1beta1(alpha_graph(w={**words, "replicas": 1}))
    stored["spec"]["components"][0]["replicas"] = 2

    assert to_v1alpha1(stored)["spec"]["services"]["w"] == {**words, "replicas": 2}


def test_words_of_a_type_give_way_to_an_edited_type() -> None:
    stored = to_v1beta1(alpha_graph(w={"componentType": "prefill", "subComponentType": "other"}))
    stored["spec"]["components"][0]["type"] = "decode"

    service = to_v1alpha1(stored)["spec"]["services"]["w"]

    assert service == {"componentType": "worker", "subComponentType": "decode"}


def test_a_block_that_switches_nothing_outlives_an_edit_of_another_field() -> None:
    stored = to_v1beta1(alpha_graph(w={"scalingAdapter": {}, "extraPodMetadata": {"labels": {}}, "replicas": 1}))
    stored["spec"]["components"][0]["replicas"] = 2

    assert to_v1alpha1(stored)["spec"]["services"]["w"]["scalingAdapter"] == {}


# extraPodMetadata with nothing in it takes a whole copy of the service to be given back.
COPIED: dict[str, Any] = {
    "extraPodMetadata": {"labels": {}},
    "frontendSidecar": {"image": "f:1"},
    "extraPodSpec": {
        "containers": [{"name": "side", "image": "s:1"}],
        "mainContainer": {"image": "i:1", "volumeMounts": [{"name": "m", "mountPath": "/m", "readOnly": True}]},
    },
}
EDITS_OF_A_COPY = [
    pytest.param(lambda c: c.pop("frontendSidecar"), id="removed-sidecar-reference"),
    pytest.param(lambda c: c.update(frontendSidecar="side"), id="another-sidecar"),
    pytest.param(lambda c: main(c)["volumeMounts"][0].update(readOnly=False), id="mount-made-writable"),
    pytest.param(lambda c: main(c)["volumeMounts"][0].update(subPath="p"), id="mount-of-a-part"),
]


@pytest.mark.parametrize("edit", EDITS_OF_A_COPY)
def test_copy_of_a_service_gives_way_to_what_v1alpha1_cannot_say(edit: Callable[[dict[str, Any]], object]) -> None:
    stored = to_v1beta1(alpha_graph(w=COPIED))
    edit(stored["spec"]["components"][0])

    assert to_v1beta1(to_v1alpha1(stored))["spec"] == stored["spec"]


def test_copy_of_a_service_outlives_what_only_v1beta1_says() -> None:
    """Mount settings and a sidecar that the service never spoke of are v1beta1's own."""
    plain = {
        "extraPodMetadata": {"labels": {}},
        "volumeMounts": [{"name": "m", "mountPoint": "/m"}],
        "extraPodSpec": {"containers": [{"name": "side", "image": "s:1"}], "mainContainer": {"image": "i:1"}},
    }
    stored = to_v1beta1(alpha_graph(w=plain))
    component = stored["spec"]["components"][0]
    main(component)["volumeMounts"][0].update(readOnly=True)
    component["frontendSidecar"] = "side"

    served = to_v1alpha1(stored)

    assert served["spec"]["services"]["w"] == plain
    assert to_v1beta1(served)["spec"] == stored["spec"]


def test_component_removed_through_v1beta1_does_not_come_back() -> None:
    stored = to_v1beta1(alpha_graph(w=SERVICE, x={"ingress": {"enabled": True}}))
    stored["spec"]["components"] = stored["spec"]["components"][1:]

    assert to_v1alpha1(stored)["spec"] == {"services": {"x": {"ingress": {"enabled": True}}}}


COMPONENT: dict[str, Any] = {
    "name": "w",
    "type": "worker",
    "replicas": 2,
    "frontendSidecar": "front",
    "multinode": {"nodeCount": 2, "leader": {"providerOverride": {}}},
    "compilationCache": {"pvcName": "c", "mountPath": "/c"},
    "experimental": {"grove": {"forceScalingGroup": True}, "gpuMemoryService": {"mode": "IntraPod"}},
    "podTemplate": {
        "metadata": {"name": "p", "labels": {"a": "b"}},
        "spec": {
            "containers": [
                {"name": "front", "image": "f:1"},
                {"name": "main", "volumeMounts": [{"name": "m", "mountPath": "/m", "readOnly": True}]},
            ]
        },
    },
}


def edited_through_alpha(edit: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    """COMPONENT after a v1alpha1 client changed its service."""
    served = to_v1alpha1(beta_graph(COMPONENT))
    edit(served["spec"]["services"]["w"])
    component: dict[str, Any] = to_v1beta1(served)["spec"]["components"][0]
    return component


def with_main(**changes: Any) -> dict[str, Any]:
    changed = copy.deepcopy(COMPONENT)
    changed["podTemplate"]["spec"]["containers"][1].update(changes)
    return changed


MOUNT = {"name": "m", "mountPath": "/m", "readOnly": True}
ALPHA_EDITS = [
    pytest.param(lambda s: s.update(replicas=3), {**COMPONENT, "replicas": 3}, id="replicas"),
    pytest.param(
        lambda s: s["multinode"].update(nodeCount=4),
        {**COMPONENT, "multinode": {"nodeCount": 4, "leader": {"providerOverride": {}}}},
        id="node-count-keeps-the-leader",
    ),
    pytest.param(lambda s: s.update(envs=[{"name": "A"}]), with_main(env=[{"name": "A"}]), id="variables-keep-mounts"),
    pytest.param(
        lambda s: s["volumeMounts"].append({"name": "n", "mountPoint": "/n"}),
        with_main(volumeMounts=[MOUNT, {"name": "n", "mountPath": "/n"}]),
        id="new-mount-keeps-read-only-of-the-old",
    ),
    pytest.param(
        lambda s: s.update(volumeMounts=[{"name": "m", "mountPoint": "/m"}]),
        {key: value for key, value in COMPONENT.items() if key != "compilationCache"},
        id="removed-cache",
    ),
    pytest.param(
        lambda s: s.update(gpuMemoryService={"enabled": False}),
        {**COMPONENT, "experimental": {"grove": {"forceScalingGroup": True}}},
        id="feature-switched-off",
    ),
]


@pytest.mark.parametrize(("edit", "expected"), ALPHA_EDITS)
def test_edit_through_v1alpha1_changes_only_what_it_touches(
    edit: Callable[[dict[str, Any]], object], expected: dict[str, Any]
) -> None:
    assert edited_through_alpha(edit) == expected


def test_removed_sidecar_takes_its_reference_with_it() -> None:
    component = edited_through_alpha(lambda s: s["extraPodSpec"].pop("containers"))

    assert "frontendSidecar" not in component


def test_renderer_reads_preserved_volumes_and_ingress_of_a_stored_graph() -> None:
    alpha = alpha_graph(w=SERVICE)
    alpha["spec"]["pvcs"] = [{"name": "p", "create": True, "size": "1Gi"}]

    kept = preserved_spec(to_v1beta1(alpha))

    assert kept["pvcs"] == alpha["spec"]["pvcs"]
    assert kept["services"]["w"]["ingress"] == {"enabled": True, "host": "h"}


def test_payload_that_cannot_be_read_counts_as_absent() -> None:
    for text in ("", "{", "[]", '{"version":1,"spec":[]}', '{"version":1,"spec":{},"rawJSON":{}}', '{"services":{}}'):
        stored = to_v1beta1(alpha_graph(w={"replicas": 1}))
        stored["metadata"]["annotations"] = {PAYLOADS[0]: text, "mine": "kept"}

        served = to_v1alpha1(stored)

        assert served["spec"] == {"services": {"w": {"replicas": 1}}}
        assert served["metadata"]["annotations"]["mine"] == "kept"


def test_payload_without_envelope_is_read() -> None:
    stored = to_v1beta1(alpha_graph(w=SERVICE))
    annotations = stored["metadata"]["annotations"]
    annotations[PAYLOADS[0]] = json.dumps(json.loads(annotations[PAYLOADS[0]])["spec"])

    assert to_v1alpha1(stored)["spec"]["services"]["w"] == SERVICE


@pytest.mark.parametrize(
    "payload",
    [
        "{",
        "[]",
        "[" * 100_000,
        '{"version": 1, "spec": {"services": "x"}}',
        '{"version": 1, "spec": {"services": {"w": {"scalingAdapter": "x"}}}}',
        '{"version": 1, "spec": {"services": {"w": {"envs": ""}}}}',
        '{"version": 1, "spec": {}, "exact": {"w": {"volumeMounts": 1}}}',
    ],
)
def test_an_unreadable_payload_of_v1alpha1_counts_as_absent(payload: str) -> None:
    stored = beta_graph(COMPONENT)
    kept = {**stored, "metadata": {**stored["metadata"], "annotations": {"nvidia.com/dgd-spec": payload}}}

    assert to_v1alpha1(kept) == to_v1alpha1(stored)


@pytest.mark.parametrize(
    "payload",
    [
        '{"version": 1, "spec": {"components": {"w": 1}}}',
        '{"version": 1, "spec": {"components": [{}]}}',
        '{"version": 1, "spec": {"components": [{"name": "w", "podTemplate": 1}]}}',
        '{"version": 1, "spec": {}, "exact": {"w": 1}}',
    ],
)
def test_an_unreadable_payload_of_v1beta1_counts_as_absent(payload: str) -> None:
    served = alpha_graph(w=SERVICE)
    kept = {**served, "metadata": {**served["metadata"], "annotations": {"nvidia.com/dgd-spec": payload}}}

    assert to_v1beta1(kept) == to_v1beta1(served)


def test_an_unreadable_status_payload_counts_as_absent() -> None:
    status = {"state": "pending", "components": {"w": {"componentKind": "Deployment", "replicas": 1}}}
    stored = {**beta_graph(COMPONENT), "status": status}
    kept = {**stored, "metadata": {**stored["metadata"], "annotations": {"nvidia.com/dgd-status": '{"services": 1}'}}}

    assert to_v1alpha1(kept) == to_v1alpha1(stored)


def test_an_empty_type_comes_back_unless_a_type_took_its_place() -> None:
    stored = to_v1beta1(alpha_graph(w={"componentType": "", "replicas": 1}))
    stored["spec"]["components"][0]["replicas"] = 2
    assert to_v1alpha1(stored)["spec"]["services"]["w"] == {"componentType": "", "replicas": 2}

    stored["spec"]["components"][0]["type"] = "frontend"
    assert to_v1alpha1(stored)["spec"]["services"]["w"]["componentType"] == "frontend"
